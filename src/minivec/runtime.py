"""The map for processes that serve queries, under the name that they know: NumPy and one file, without Keras."""

from minivec.map import LinearMap

__all__ = ["QueryAdapter"]

QueryAdapter = LinearMap
