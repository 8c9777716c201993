"""A model of sentence-transformers, by its name or its folder."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from minivec.embedders.base import EmbedderError
from minivec.embedders.batches import Batched
from minivec.extras import missing

PROMPTS = {"query": ("query",), "document": ("document", "passage", "corpus")}  # names that models have for them


class SentenceTransformerEmbedder(Batched):
    """The model with this name (of a hub, with @REVISION if need be) or in this folder, with its own prompts.

    It is loaded for the first texts. Texts that are longer than the model's ``max_seq_length`` are cut, as
    sentence-transformers does. The name of a model in a folder changes with its files.
    """

    most = 256

    def __init__(self, model: str):
        super().__init__()
        self._place = Path(model).expanduser()
        self._model_name, _, self._revision = (model, "", "") if self._place.is_dir() else model.partition("@")
        self.name = f"sentence-transformers:{self._state() if self._place.is_dir() else model}"

    def _state(self) -> str:
        """The folder with a digest of the names, sizes and times of its files."""
        digest = hashlib.sha256()
        for file in sorted(path for path in self._place.rglob("*") if path.is_file()):
            stat = file.stat()
            digest.update(f"{file.relative_to(self._place)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        return f"{self._place.resolve()}@{digest.hexdigest()[:16]}"

    @cached_property
    def _model(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise missing(f"{self.name}: needs sentence-transformers", "sentence-transformers") from error
        where = str(self._place) if self._place.is_dir() else self._model_name
        try:
            return SentenceTransformer(where, revision=self._revision or None)
        except (OSError, ValueError) as error:
            raise EmbedderError(f"{self.name}: cannot be loaded: {' '.join(str(error).split())[:300]}") from None

    def answer(self, texts: Sequence[str], kind: str) -> np.ndarray:
        """One call of the model."""
        model = self._model
        encode = getattr(model, f"encode_{kind}", None)  # since sentence-transformers 5.0
        if encode is not None:
            return encode(list(texts), show_progress_bar=False)
        prompt = next((name for name in PROMPTS[kind] if name in model.prompts), None)
        return model.encode(list(texts), prompt_name=prompt, show_progress_bar=False)
