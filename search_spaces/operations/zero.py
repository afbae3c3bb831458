"""No connection.

Source: Liu et al. 2019, "DARTS: differentiable architecture search", section 3.1, arXiv:1806.09055.
Deviations: none.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry


@entry("zero")
@dataclass(frozen=True, slots=True)
class Zero(Operation):
    """Zeros of the input's size."""

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        return _ZeroModule(out_channels)


class _ZeroModule(nn.Module):
    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> zeros (N, out_channels, *S)."""
        return (x[:, :1] * 0.0).expand(-1, self.out_channels, *x.shape[2:])
