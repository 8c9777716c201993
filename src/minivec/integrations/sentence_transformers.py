"""A module that ends a SentenceTransformer, so that ``encode`` answers in another model's space."""

from pathlib import Path
from typing import Any

import torch

from minivec.integrations.torch import TorchAdapter
from minivec.map import LinearMap

FILE = "bridge.safetensors"


class Bridge(torch.nn.Module):
    """Maps the sentence embeddings of the modules before it.

    >>> model.append(Bridge(LinearMap.load("bridge.safetensors")))
    >>> model.encode("a text")  # (dB,), comparable by cosine with the other model's vectors
    >>> model.save("folder")  # the map goes with it
    >>> SentenceTransformer("folder", trust_remote_code=True)  # as this class is not sentence-transformers' own
    """

    def __init__(self, adapter: LinearMap):
        super().__init__()
        self.adapter, self.map = adapter, TorchAdapter(adapter)

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """``features`` with its "sentence_embedding" (n, dA) mapped to (n, dB)."""
        features["sentence_embedding"] = self.map(features["sentence_embedding"])
        return features

    def get_embedding_dimension(self) -> int:
        """The width of what comes out, dB."""
        return self.adapter.shape[1]

    get_sentence_embedding_dimension = get_embedding_dimension  # its name before sentence-transformers 5.2

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Write the map into the folder that sentence-transformers gives this module."""
        self.adapter.save(Path(output_path) / FILE)

    @classmethod
    def load(cls, input_path: str) -> "Bridge":
        """The module saved in a folder."""
        return cls(LinearMap.load(Path(input_path) / FILE))
