"""How an index was made, told from the index, and another one made the same way."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

import faiss
import numpy as np
from faiss.contrib.factory_tools import reverse_index_factory

from minivec.formats.faiss.reading import chain, parts, said

TRAINED = 65_536  # rows that an index is trained on, or so many for each list of an IVF index:
PER_LIST = 64
METRICS = {"ip": faiss.METRIC_INNER_PRODUCT, "l2": faiss.METRIC_L2}
ASK = "migrate into an index of another kind, as NEW.faiss?factory=Flat"
NARROWED = re.compile(r"(?:PCAW?R?|OPQ\d+_|RR|ITQ|Pad)(\d+)")  # transforms to so many dimensions
QUANTIZED = re.compile(r"\b(O?PQ)(\d+)")  # and the number of parts that each vector is cut into


@dataclass(frozen=True)
class Recipe:
    """What an index is made by: FAISS's factory string, its metric, and settings that the string has no place for.

    ``settings`` are those of ``faiss.ParameterSpace``: efConstruction of building, nprobe and efSearch of searching.
    """

    factory: str
    metric: int = faiss.METRIC_INNER_PRODUCT
    metric_arg: float = 0.0
    settings: str = ""

    @classmethod
    def of(cls, index: Any) -> Self:
        """That of an index; ValueError where FAISS's factory makes no such index."""
        try:
            factory = _factory(index)
        except (NotImplementedError, AssertionError, KeyError, AttributeError) as error:
            kinds = ", ".join(type(part).__name__ for part in parts(index))
            raise ValueError(f"an index like this one ({kinds}) cannot be built anew: {ASK}") from error
        return cls(factory, index.metric_type, index.metric_arg, _settings(index))

    @property
    def maps_ids(self) -> bool:
        """Whether ids that are not the numbers of rows are kept."""
        lists = re.search(r"(^|,)(IVF|IMI)", self.factory) and not re.search(r",(RFlat|Refine\()", self.factory)
        return self.factory.startswith("IDMap") or bool(lists)

    def at(self, width: int, rows: int, ids: bool) -> Self:
        """The recipe for so many ``rows`` of another width, with or without ``ids`` of their own.

        Each vector is cut into a number of parts that divides its width, the nearest one. ValueError where FAISS makes
        no such index, or where it takes more rows to train one.
        """
        narrowed = NARROWED.findall(self.factory)
        cut = int(narrowed[-1]) if narrowed else width
        factory = QUANTIZED.sub(lambda m: f"{m[1]}{_divisor(cut, int(m[2]))}", self.factory)
        recipe = replace(self, factory=factory)
        if ids and not recipe.maps_ids:
            recipe = replace(recipe, factory=f"IDMap,{factory}")
        needed = recipe.empty(width, True)
        if rows < needed:
            raise ValueError(f"an index {recipe.factory} is trained on {needed:,} rows, and there are {rows:,}: {ASK}")
        return recipe

    def otherwise(self, factory: str, width: int) -> str | None:
        """That this is not what was asked for, or None."""
        if self.factory == factory:
            return None
        return f"the index is {self.factory}, as {factory} does not suit {width} dimensions"

    def empty(self, width: int, count: bool = False) -> Any:
        """An index without rows, or, with ``count``, how many rows it needs at least."""
        try:
            index = faiss.index_factory(width, self.factory, self.metric)
        except RuntimeError as error:
            raise ValueError(f"FAISS makes no index {self.factory} of {width} dimensions: {said(error)}") from error
        if count:
            return max(_least(part) for part in parts(index))
        for part in parts(index):
            part.metric_arg = self.metric_arg
            for owner in (part, getattr(part, "pq", None)):  # FAISS warns, on stderr, of few rows
                if owner is not None and hasattr(owner, "cp"):
                    owner.cp.min_points_per_centroid = 1
        if self.settings:
            space: Any = faiss.ParameterSpace()
            space.set_index_parameters(index, self.settings)
        return index

    def build(self, width: int, count: int, rows: Callable[[Any], np.ndarray], blocks: Iterable[Any]) -> Any:
        """The index of the ``blocks``, each of vectors (m, width) float32 and their ids (m,) int64.

        It is trained on random ones of the ``count`` rows, which ``rows`` gives by their numbers; the same ones each
        time.
        """
        index = self.empty(width)
        if not index.is_trained:
            lists = max((part.nlist for part in parts(index) if isinstance(part, faiss.IndexIVF)), default=0)
            most = min(count, max(TRAINED, PER_LIST * lists))
            chosen = np.sort(np.random.default_rng(0).choice(count, most, replace=False))
            index.train(np.ascontiguousarray(rows(chosen), np.float32))
        for vectors, ids in blocks:
            if self.maps_ids:
                index.add_with_ids(np.ascontiguousarray(vectors), np.ascontiguousarray(ids))
            else:
                index.add(np.ascontiguousarray(vectors))
        return index


def _divisor(width: int, number: int) -> int:
    """The divisor of ``width`` that is nearest to ``number``, the larger one of two."""
    divisors = [n for n in range(1, width + 1) if width % n == 0]
    return min(divisors, key=lambda n: (abs(n - number), -n))


def _least(index: Any) -> int:
    """The rows that training needs at least: one for each centroid."""
    pq = getattr(index, "pq", None)
    return max(1, getattr(index, "nlist", 1), 1 if pq is None else 2**pq.nbits)


def _factory(index: Any) -> str:
    """The factory string of an index; FAISS's own function knows no OPQ matrix that was read from a file."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexIDMap):
        return f"{'IDMap2' if isinstance(index, faiss.IndexIDMap2) else 'IDMap'},{_factory(index.index)}"
    if isinstance(index, faiss.IndexPreTransform):
        inner = _factory(index.index)
        return ",".join([*(_transform(transform, inner) for transform in chain(index)), inner])
    if isinstance(index, faiss.IndexRefine):
        base, refined = _factory(index.base_index), _factory(index.refine_index)
        return f"{base},RFlat" if refined == "Flat" else f"{base},Refine({refined})"
    reverse: Any = reverse_index_factory
    return str(reverse(index))


def _transform(transform: Any, inner: str) -> str:
    """The factory string of a transform before the index ``inner``."""
    same = transform.d_in == transform.d_out
    if isinstance(transform, faiss.NormalizationTransform):
        return "L2norm"
    if isinstance(transform, faiss.RandomRotationMatrix):
        return "RR" if same else f"RR{transform.d_out}"
    if isinstance(transform, faiss.PCAMatrix):
        whitened = "W" if transform.eigen_power < 0 else ""
        return f"PCA{whitened}{'R' if transform.random_rotation else ''}{transform.d_out}"
    cut = re.search(r"\bPQ(\d+)", inner)
    if not isinstance(transform, faiss.LinearTransform) or cut is None:
        raise NotImplementedError(type(transform).__name__)
    return f"OPQ{cut[1]}" if same else f"OPQ{cut[1]}_{transform.d_out}"


def _settings(index: Any) -> str:
    """The settings that an index keeps in its file."""
    found: dict[str, Any] = {}
    for part in parts(index):
        if isinstance(part, faiss.IndexIVF):
            found["nprobe"] = part.nprobe
            quantizer = faiss.downcast_index(part.quantizer)
            if isinstance(quantizer, faiss.IndexHNSW):
                found["quantizer_efSearch"] = quantizer.hnsw.efSearch
        elif isinstance(part, faiss.IndexRefine):
            found["k_factor_rf"] = part.k_factor
    inner = [part for part in parts(index) if isinstance(part, faiss.IndexHNSW)]
    if inner and "nprobe" not in found:
        found |= {"efSearch": inner[0].hnsw.efSearch, "efConstruction": inner[0].hnsw.efConstruction}
    return ",".join(f"{name}={value:g}" for name, value in found.items())
