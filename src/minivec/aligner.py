"""The Keras model: fits a ``LinearMap`` and applies it on any of Keras's backends."""

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from minivec.algorithm.confidence import AlignmentWarning
from minivec.backend import map_rows
from minivec.fitting import Common, fit_common, fit_paired, fit_unpaired, recorder
from minivec.history import History
from minivec.map import LinearMap
from minivec.persistence import BACKWARD, FORWARD, Stored, read_aligner
from minivec.record import Callback, Record
from minivec.settings import resolve, whole_number, with_hyperparameters
from minivec.spaces import recorded
from minivec.validation import as_array
from minivec.version import __version__
from minivec.weights import MapWeights

if TYPE_CHECKING:
    from minivec.report import Report


class NotAlignedError(ValueError):
    """The model has no map yet: ``align`` has not been run, nor an aligned model's weights loaded."""


@keras.saving.register_keras_serializable(package="minivec")
class MiniVec2VecAligner(MapWeights):
    """The linear map from embedding space A into embedding space B, fitted without pairs (arXiv 2510.02348).

    >>> aligner = MiniVec2VecAligner(embedding_dim=128)
    >>> history = aligner.align(XA=source, XB=target)  # raw embeddings (nA, 128) and (nB, dB), unpaired
    >>> mapped = aligner(source)  # unit rows (nA, dB), to be compared by cosine with raw rows of B

    ``embedding_dim`` is A's width dA; B's width dB is ``target_dim`` or, without one, read from XB by
    ``align``. The weights are float32, not trainable, and saved with the model: ``source_mean`` (dA,),
    ``target_mean`` (dB,), ``source_norm`` and ``target_norm`` (typical lengths of raw rows), ``W``
    (dA, dB), ``inverse_W`` (dB, dA), ``expected_cosine`` (of a mapped row with its partner, in the frame) and
    ``unit`` (see ``LinearMap``).

    ``history`` is what ``align`` returned without the maps, with versions, sizes and hashes of the data: JSON that is
    saved with the model. It is empty before. ``map`` is the fitted map as a ``LinearMap``, which needs no Keras.
    """

    def __init__(
        self, embedding_dim: int, target_dim: int | None = None, history: dict[str, Any] | None = None, **kwargs: Any
    ):
        # float32 whatever Keras's global policy: half precision would cost accuracy, and saves nothing here
        super().__init__(**{"dtype": "float32", **kwargs})
        self.embedding_dim = whole_number("embedding_dim", embedding_dim, 2)
        self.target_dim = None if target_dim is None else whole_number("target_dim", target_dim, 2)
        self.input_spec = keras.InputSpec(ndim=2, axes={-1: self.embedding_dim})
        self.history = dict(history or {})
        self._width = self.target_dim or self.embedding_dim
        self._is_aligned = False
        self._know(None)

    @property
    def history(self) -> dict[str, Any]:
        """What ``align`` returned, but for the maps, and what it was run on; empty before."""
        return self._history

    @history.setter
    def history(self, value: Any) -> None:
        if isinstance(value, dict):  # Keras 3.8 puts its own History here whenever it predicts
            plain = json.loads(json.dumps(value))  # out of Keras's own containers, which cannot be pickled,
            object.__setattr__(self, "_history", plain)  # and past Keras, which would wrap it again

    @property
    def confidence(self) -> float:
        """What ``align`` thought of its result, from 0 to 1; NaN where that is not known."""
        return float(self.history.get("confidence", "nan"))

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Map raw rows of A (n, dA), of any array type, to unit rows (n, dB) comparable with raw rows of B.

        A tensor of the Keras backend gives such a tensor, a symbolic input a symbolic output. Whatever else, as NumPy
        arrays and lists, gives a NumPy array.

        Raises NotAlignedError for a model without a map; symbolic inputs pass, as Keras builds before it
        loads. Vectors that look like those of another space are a WrongVectorsWarning, once, of the first calls.
        """
        if not isinstance(inputs, keras.KerasTensor):
            self._check_aligned()
            if not ops.is_tensor(inputs):
                rows = np.asarray(as_array(inputs, "inputs"), np.float32)
                self._look(rows)
                return np.asarray(ops.convert_to_numpy(super().__call__(rows, *args, **kwargs)))
        return super().__call__(inputs, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Keras's own. NumPy rows that look like vectors of another space are a WrongVectorsWarning, as in a call."""
        if isinstance(x, np.ndarray):
            self._look(x)
        return super().predict(x, *args, **kwargs)

    def call(self, inputs: Any) -> Any:
        """The map itself, on a tensor of the Keras backend."""
        self._check_aligned()  # again: Keras's compiled ``predict`` comes straight here
        weights = self.source_mean, self.W, self.target_mean, self.target_norm, self.expected_cosine, self.unit
        return map_rows(inputs, tuple(weight.value for weight in weights))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        """The shape of ``self(inputs)``."""
        return (input_shape[0], self._width)

    @with_hyperparameters(lambda h: h.type | None, explain=True)
    def align(
        self,
        XA: Any,
        XB: Any,
        *,
        preset: str = "auto",
        mapping: str = "orthogonal",
        seed: int = 0,
        verbose: int = 0,
        callbacks: Iterable[Callback] = (),
        engine: str = "local",
        pairs: Any = None,
        source_name: str | None = None,
        target_name: str | None = None,
        **hyperparameters: Any,
    ) -> History:
        """Fit the map from raw embeddings of A, ``XA`` (nA, dA), and of B, ``XB`` (nB, dB), not paired.

        ``preset`` is "auto" or "paper" (the published procedure); a hyperparameter given here wins over it.
        ``mapping`` is "orthogonal" or "whitened", which retrieves better and is not orthogonal. ``callbacks``
        are called with a ``Step`` after every iteration and end the run, with the map it has, by returning
        True. ``pairs`` (m, 2) are known pairs of row numbers, if there are any. ``source_name`` and ``target_name``
        name the spaces ("ada-002", "te3-small"): the commands can then tell which way to map. ``verbose=1`` shows each
        stage's progress. ``engine="ray"`` runs the anchors' ensemble and the fits that confidence compares as Ray
        tasks. The same inputs, settings and ``seed`` give the same result with
        the same machine, number of BLAS threads (``OPENBLAS_NUM_THREADS``), Keras backend and versions of the
        libraries. Others round otherwise: a good fit hardly changes, a weak one may.

        Returns the run's history, a dict that prints as a short summary: ``initial_W``, ``refine1_W``, ``final_W``,
        ``confidence``, ``verdict``, ``causes``, ``expected_cosine``, ``expected_top1``, ``seconds`` per stage, the
        ``steps``, whether it was ``stopped``, ``settings``, number of ``pairs``, ``data`` (shapes and fingerprints),
        ``versions`` and ``spaces``.
        ``expected_top1`` is the share of rows whose partner is to come first ``among`` so many: its ``value``, and the
        interval from ``low`` to ``high`` that holds the truth nine times in ten; or None, where there is no evidence.
        A result that is probably wrong comes with an AlignmentWarning. Bad input is a ValueError or TypeError before
        any work; the model stays as it was until the new map is there, also when interrupted.
        """
        settings = resolve(preset, mapping, seed, **hyperparameters)
        bridge, result = fit_unpaired(
            XA,
            XB,
            settings,
            recorder(engine)(callbacks, verbose),
            pairs=pairs,
            widths=(self.embedding_dim, self.target_dim),
            **_facts(source_name, target_name),
        )
        self._adopt(bridge)
        return History(initial_W=result.initial_W, refine1_W=result.refine1_W, final_W=result.W, **self.history)

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Not for this model, which has nothing to train: always a TypeError that names ``align``."""
        raise TypeError("a MiniVec2VecAligner has no weights to train: call align(XA, XB), or from_pairs(XA, XB)")

    @classmethod
    def from_pairs(
        cls,
        XA: Any,
        XB: Any,
        *,
        mapping: str = "orthogonal",
        seed: int = 0,
        verbose: int = 0,
        source_name: str | None = None,
        target_name: str | None = None,
        **kwargs: Any,
    ) -> "MiniVec2VecAligner":
        """A model fitted to raw rows ``XA`` (m, dA) whose partners are the rows of ``XB`` (m, dB), one by one.

        ``mapping`` is a closed form: "orthogonal" (Procrustes: the first choice), "ridge" (linear; better with fewer
        pairs than dimensions) or "low-rank" (Procrustes and a low-rank correction, as in Drift-Adapter, arXiv
        2509.23471). The model is of the kind that ``align`` fits, and ``inverse()`` the fit the other way. Its
        ``history`` has what ``align`` records, with the ridge and the rank that were chosen among the settings;
        confidence, verdict and expected cosine come from a fifth of the pairs, held out and then used: ``held_out`` has
        their number, top-1 and mean rank among each other. ``source_name`` and ``target_name`` are those of ``align``,
        ``kwargs`` those of a Keras model. Of more than 60,000 pairs a uniform sample is used.
        Raises ValueError or TypeError as ``align`` does, for fewer than 10 pairs, and for XA and XB of unequal length.
        """
        bridge = fit_paired(XA, XB, mapping, seed, Record(verbose=verbose), **_facts(source_name, target_name))
        model = cls(bridge.shape[0], **kwargs)
        model._adopt(bridge)
        return model

    @classmethod
    def from_map(cls, bridge: LinearMap, **kwargs: Any) -> "MiniVec2VecAligner":
        """The model that maps as ``bridge`` does; ``kwargs`` are those of a Keras model.

        Raises ValueError for a map without an inverse, as every model has one.
        """
        if not bridge.invertible:
            raise ValueError("a Keras model maps both ways, and this map holds one direction only")
        model = cls(*bridge.shape, **kwargs)
        model._set(bridge)
        return model

    @property
    def map(self) -> LinearMap:
        """The map as a NumPy value: a copy. NotAlignedError for a model without one."""
        self._check_aligned()
        weights = {name: ops.convert_to_numpy(getattr(self, name)) for name in (*FORWARD, *BACKWARD)}
        return LinearMap(weights, self.history, signatures=self._signatures)

    def _adopt(self, bridge: LinearMap) -> None:
        """Take over the map of a fit; warn the caller of the fit if it is not reliable."""
        self._set(bridge)
        if self.history["verdict"] != "reliable":
            fate = "failed" if self.history["verdict"] == "failed" else "is doubtful"
            what = f"this alignment {fate}: {'; '.join(self.history['causes'])}"
            warnings.warn(what, AlignmentWarning, stacklevel=3)

    def export(self, filepath: str | Path, *args: Any, **kwargs: Any) -> None:
        """Write the map for use without Keras: as ``bridge.safetensors`` or ``bridge.onnx``.

        ``minivec.open_map`` reads the first. The second is a graph from rows ``x`` (n, dA) to ``y`` (n, dB). With
        another suffix, or with arguments of Keras's own ``export``, this is Keras's own.
        """
        suffix = Path(filepath).suffix.lower()
        if args or kwargs or suffix not in (".safetensors", ".onnx"):
            if self.aligned:  # Keras exports only what has been called
                self(np.zeros((1, self.embedding_dim), np.float32))
            super().export(filepath, *args, **kwargs)
        elif suffix == ".onnx":
            from minivec.integrations import onnx

            onnx.save(self.map, filepath)
        else:
            self.map.save(filepath)

    def to_torch(self) -> Any:
        """The map as a ``torch.nn.Module``, whatever Keras's backend: ``minivec.integrations.torch.TorchAdapter``."""
        from minivec.integrations.torch import TorchAdapter

        return TorchAdapter(self.map)

    def save_pretrained(self, folder: str | Path, **names: Any) -> None:
        """Write a folder in Hugging Face's layout, model card included: ``minivec.integrations.huggingface.save``."""
        from minivec.integrations import huggingface

        huggingface.save(self.map, folder, **names)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "MiniVec2VecAligner":
        """The aligner that ``save_pretrained`` wrote, in a folder or in the hub's repository "owner/name".

        A repository is downloaded by huggingface_hub. Raises ValueError or OSError for anything else.
        """
        from minivec.integrations import huggingface

        return load(huggingface.fetched(folder))

    def inverse(self) -> "MiniVec2VecAligner":
        """The model from B to A: the map fitted the other way (W^T if orthogonal), its history turned likewise."""
        return MiniVec2VecAligner.from_map(self.map.inverse(), dtype=self.dtype_policy)

    def common(self, XA: Any, XB: Any, *, seed: int = 0, verbose: int = 0) -> Common:
        """Two linear maps into the space that both spaces share, ``source`` of A's rows and ``target`` of B's rows.

        >>> common = aligner.common(XA, XB)  # raw rows (nA, dA) and (nB, dB), not paired: those of the fit, or others
        >>> cosines = common.source(queries) @ common.target(documents).T  # rows of length 1, k dimensions

        Where rows of both spaces can be mapped, they find their partners more often than through the map itself, which
        is a rotation: the common space weights each direction by how far both spaces share it, and leaves the least
        shared third out. k is two thirds of the smaller width, 512 at most, and less with few rows. Both are
        ``LinearMap``: ``save`` writes them, and ``minivec.open_map`` reads them. They have one direction and the
        verdict of this model's fit.

        The last level of the fit runs again, on at most 60,000 rows a side. Raises NotAlignedError without a map,
        ValueError and TypeError as ``align`` does, and ValueError for vectors of another space.
        """
        return fit_common(self.map, XA, XB, whole_number("seed", seed, 0), Record(verbose=verbose))

    def report(
        self, A: Any, B: Any, *, source_texts: Any = None, target_texts: Any = None, paired: bool = False
    ) -> "Report":
        """Explain the map on raw rows of A (n, dA) and of B (m, dB): a page that notebooks show and ``save`` writes.

        ``source_texts`` and ``target_texts`` name the rows, one text each. ``paired`` says that row i of both is the
        same item (the source's texts then serve for both), and adds what only true pairs tell. At most 10,000 rows a
        side, drawn evenly, are shown. Needs the extra ``report``. Raises as ``align`` does for what is no
        embedding, and ValueError for fewer than 20 rows, texts or pairs of another number than the rows.
        """
        from minivec.report import Report

        return Report.of(self.map, A, B, source_texts=source_texts, target_texts=target_texts, paired=paired)

    def _look(self, rows: np.ndarray) -> None:
        """Warn the caller of the call of vectors of another space, until it is clear of which space they are."""
        if self._watch is not None and rows.ndim == 2 and rows.shape[1] == self.embedding_dim:
            object.__setattr__(self, "_watch", self._watch.look(rows, stacklevel=4))

    def _check_aligned(self) -> None:
        if not self.aligned:
            raise NotAlignedError(f"{self.name} is not aligned: call align(XA, XB), or load an aligned model")

    def get_config(self) -> dict[str, Any]:
        """What ``from_config`` needs; the width of B is in it once known. The history is saved beside the weights."""
        target_dim = self._width if self.aligned else self.target_dim
        return {**super().get_config(), "embedding_dim": self.embedding_dim, "target_dim": target_dim}


def load(path: str | Path) -> MiniVec2VecAligner:
    """The aligner in a .keras or .safetensors file, or in a folder that ``save_pretrained`` wrote, trusted or not.

    Like ``keras.models.load_model``, but the only objects it makes are the aligner and its arrays. Memory is bounded by
    a few times the file's size. Raises OSError where there is nothing to read, and ValueError that says what is wrong:
    damaged, of another class, not aligned, made to harm, or a map of one direction only.
    """

    def make(stored: Stored) -> MiniVec2VecAligner:
        return MiniVec2VecAligner.from_map(LinearMap.of_stored(stored), **stored.options)

    return read_aligner(path, make)


def _facts(source_name: str | None, target_name: str | None) -> dict[str, Any]:
    """What a fit's history says about the software and the spaces."""
    versions = {"minivec": __version__, "keras": keras.__version__, "backend": keras.backend.backend()}
    return {"versions": versions, "spaces": recorded(source_name, target_name)}
