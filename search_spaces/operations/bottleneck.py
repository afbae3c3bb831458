"""A convolution of few channels between two pointwise ones, beside a shortcut.

Source: He et al. 2016, "Deep residual learning for image recognition", Figure 5 (right), arXiv:1512.03385.
Deviations: how many fewer channels is a choice.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry


@entry("bottleneck")
@dataclass(frozen=True, slots=True)
class Bottleneck(Operation):
    """Pointwise, 3- and pointwise convolution, the input added before the last activation.

    Attributes:
        reduction: Output channels over inner channels.
        rate: Distance of the taps of the 3-convolution.
    """

    reduction: int = 4
    rate: int = 1

    def __post_init__(self) -> None:
        if self.reduction < 1 or self.rate < 1:
            raise SpaceError(f"bottleneck: {self!r} given; reduction and rate are at least 1.")

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        return _BottleneckModule(self, layers, in_channels, out_channels)


class _BottleneckModule(nn.Module):
    def __init__(self, choice: Bottleneck, layers: Layers, in_channels: int, out_channels: int) -> None:
        super().__init__()
        inner = max(out_channels // choice.reduction, 1)
        self.body = nn.Sequential(
            layers.conv_block(in_channels, inner, kernel=1),
            layers.conv_block(inner, inner, kernel=3, rate=choice.rate),
            layers.conv(inner, out_channels, kernel=1, bias=layers.bias),
            layers.normalise(out_channels),
        )
        self.shortcut = layers.projection(in_channels, out_channels)
        self.activation = layers.activate(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, out_channels, *S)."""
        result: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return result
