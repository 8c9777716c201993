"""Models that make vectors of texts, behind one small protocol: each maker a module, its package an extra."""

from minivec.embedders.base import KINDS, Embedder, EmbedderError

__all__ = ["KINDS", "Embedder", "EmbedderError"]
