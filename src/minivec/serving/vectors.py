"""From vectors of the model behind the map to mapped ones, or a refusal."""

import base64
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from minivec import spaces
from minivec.embedders.base import EmbedderError, verified
from minivec.embedders.http import decoded
from minivec.map import LinearMap
from minivec.serving.refused import Refused
from minivec.signature import recognise

KEPT = 64  # rows in doubt that are kept for each model, to tell together what one row alone does not
MODELS = 16  # of which such rows are kept


class Mapper:
    """Maps what comes from the upstream or from a client, and refuses vectors of another space than the map leads from.

    One row mostly leaves open of which space it is. So rows in doubt are kept, and the next ones are looked at
    together with them, until rows of the right space come.
    """

    def __init__(self, bridge: LinearMap, any_vectors: bool):
        self.bridge = bridge
        self.source, self.target = spaces.names(bridge.history)
        self._signatures = None if any_vectors else bridge.signatures
        self._doubtful: OrderedDict[str, np.ndarray] = OrderedDict()

    def answer(self, content: bytes, asked: dict[str, Any], model: str) -> tuple[bytes, int]:
        """The upstream's answer to an ``asked`` body with its vectors mapped, and their number.

        All else in it stays as it is, but for the model's name: that of the target's space, if the map has one.
        Refused where it is no answer of /v1/embeddings or its vectors are of another space.
        """
        try:
            body = orjson.loads(content)
            items = body["data"]
            rows = np.stack([decoded(item["embedding"]) for item in items])
            vectors = verified(rows, texts(asked.get("input")), None, "the upstream")
        except (ValueError, TypeError, KeyError, EmbedderError) as error:
            said = str(error) if isinstance(error, EmbedderError) else f"{type(error).__name__} in its answer"
            raise Refused(502, "bad_upstream_answer", f"not an answer of /v1/embeddings: {said}") from None
        mapped = self.mapped(vectors, model)
        plain = asked.get("encoding_format", "float") != "base64"
        for item, row in zip(items, mapped, strict=True):
            item["embedding"] = row if plain else base64.b64encode(row.tobytes()).decode()
        if self.target:
            body["model"] = self.target
        return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), len(mapped)

    def mapped(self, vectors: np.ndarray, model: str = "") -> np.ndarray:
        """Vectors (n, dA) of a ``model`` to (n, dB) float32; Refused (422) for vectors of another space."""
        width = self.bridge.shape[0]
        if vectors.shape[1] != width:
            raise Refused(422, "wrong_space", f"vectors of {vectors.shape[1]} dimensions where the map takes {width}")
        self._refuse_wrong(vectors, model)
        return self.bridge.apply(vectors)

    def _refuse_wrong(self, vectors: np.ndarray, model: str) -> None:
        """Refuse vectors that look like those of another space."""
        if self._signatures is None:
            return
        verdict = recognise(vectors, *self._signatures)
        if verdict.space == "unknown":
            rows = np.concatenate([self._doubtful.pop(model, vectors[:0]), vectors])[-KEPT:]
            self._doubtful[model] = rows
            if len(self._doubtful) > MODELS:
                self._doubtful.popitem(last=False)
            verdict = recognise(rows, *self._signatures)
        if verdict.space == "own":
            self._doubtful.pop(model, None)
        if verdict.wrong:
            raise Refused(422, "wrong_space", f"{verdict.cause}; --any-vectors goes on regardless")


def texts(given: Any) -> int:
    """How many texts the ``input`` of a request has: one string or list of tokens, or a list of these."""
    several = isinstance(given, Sequence) and not isinstance(given, str) and not all(isinstance(x, int) for x in given)
    return len(given) if several else 1
