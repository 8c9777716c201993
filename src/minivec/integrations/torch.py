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
    expected_cosine: torch.Tensor
    W: torch.Tensor
    beyond: torch.Tensor

    def __init__(self, adapter: LinearMap):
        super().__init__()
        for name in FORWARD:
            self.register_buffer(name, torch.tensor(adapter.weights[name]))
        self.register_buffer("beyond", torch.tensor(adapter.beyond))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The map; ``x`` is cast to the weights' dtype."""
        z = torch.matmul(x.to(self.W.dtype) - self.source_mean, self.W)
        v = torch.nn.functional.normalize(z, dim=-1)
        along = torch.matmul(v, self.target_mean).unsqueeze(-1)
        reach = torch.sqrt(torch.clamp(along * along + self.beyond, min=0.0)) - along
        return torch.nn.functional.normalize(self.expected_cosine * self.target_mean + reach * v, dim=-1)
