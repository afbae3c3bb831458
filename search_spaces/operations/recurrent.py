"""Recurrent residual convolutions.

Source: Alom et al. 2018, "Recurrent residual convolutional neural network based on U-Net (R2U-Net) for medical image
    segmentation", Eq. 1 to 4, Figure 3 (d), arXiv:1802.06955.
Deviations: none; normalisation follows each convolution, as in the re-writes whose parameter count is known.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry


@entry("recurrent")
@dataclass(frozen=True, slots=True)
class Recurrent(Operation):
    """A pointwise convolution, and what recurrent 3-convolutions add to it.

    A recurrent convolution is applied to its input, then ``steps`` times, with the same weights, to the sum of its input
    and its last output.

    Attributes:
        depth: Recurrent convolutions in a row.
        steps: Repetitions of each.
    """

    depth: int = 2
    steps: int = 2

    def __post_init__(self) -> None:
        if self.depth < 1 or self.steps < 1:
            raise SpaceError(f"recurrent: {self!r} given; depth and steps are at least 1.")

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        return _RecurrentModule(self, layers, in_channels, out_channels)


class _RecurrentModule(nn.Module):
    def __init__(self, choice: Recurrent, layers: Layers, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pointwise = layers.conv(in_channels, out_channels, kernel=1, bias=True)
        units = (_Unit(layers, out_channels, choice.steps) for _ in range(choice.depth))
        self.units = nn.Sequential(*units)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, out_channels, *S)."""
        start = self.pointwise(x)
        result: Tensor = start + self.units(start)
        return result


class _Unit(nn.Module):
    def __init__(self, layers: Layers, channels: int, steps: int) -> None:
        super().__init__()
        self.conv = layers.conv_block(channels, channels, kernel=3)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> the same."""
        y: Tensor = self.conv(x)
        for _ in range(self.steps):
            y = self.conv(x + y)
        return y
