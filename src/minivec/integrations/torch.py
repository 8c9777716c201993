"""The map as a PyTorch module: on any device, differentiable, and within TorchScript or ``torch.export``."""

import torch

from minivec.map import LinearMap
from minivec.persistence import FORWARD


class TorchAdapter(torch.nn.Module):
    """Maps raw vectors of A (..., dA) to unit vectors (..., dB) comparable by cosine with raw ones of B.

    The weights are buffers, not parameters: they move with ``.to(...)``, and no optimizer changes them.
    """

    source_mean: torch.Tensor
    target_mean: torch.Tensor
    W: torch.Tensor
    unit: torch.Tensor
    share: torch.Tensor
    trust: torch.Tensor
    usual: torch.Tensor
    beyond: torch.Tensor
    near: torch.Tensor

    def __init__(self, adapter: LinearMap):
        super().__init__()
        for name in FORWARD:
            self.register_buffer(name, torch.tensor(adapter.weights[name]))
        for name in ("share", "trust", "usual", "beyond", "near"):
            self.register_buffer(name, torch.tensor(getattr(adapter, name)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The map; ``x`` is cast to the weights' dtype."""
        x = x.to(self.W.dtype)
        largest = torch.amax(x.abs(), dim=-1, keepdim=True)
        tamed = x / largest.clamp(min=1e-30)
        rows = tamed / torch.linalg.vector_norm(tamed, dim=-1, keepdim=True).clamp(min=1.0)
        shrunk = torch.where(self.unit > 0, torch.ones_like(largest), 1.0 / (largest / 1e15).clamp(min=1.0))
        z = torch.matmul(torch.where(self.unit > 0, rows, x * shrunk) - shrunk * self.source_mean, self.W)
        size = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
        v = torch.where(size <= self.near * shrunk, torch.zeros_like(z), z / size.clamp(min=1e-30))
        along = torch.matmul(v, self.target_mean).unsqueeze(-1)
        reach = self.trust * (torch.sqrt(torch.clamp(along * along + self.beyond, min=0.0)) - along) + self.usual
        return torch.nn.functional.normalize(self.share * self.target_mean + reach * v, dim=-1)
