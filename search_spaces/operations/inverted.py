"""Inverted residual block with a linear bottleneck.

Source: Sandler et al. 2018, "MobileNetV2: inverted residuals and linear bottlenecks", Table 1,
    arXiv:1801.04381; Shaw et al. 2019, "SqueezeNAS: fast neural architecture search for faster semantic segmentation",
    arXiv:1908.01748 (rate and groups).
Deviations: the activation is the architecture's instead of ReLU6, so that one choice holds for the whole
    network.
"""

import math
from dataclasses import dataclass, field

from torch import Tensor, nn

from search_spaces.codec import LATER
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry


@entry("inverted")
@dataclass(frozen=True, slots=True)
class Inverted(Operation):
    """Pointwise expansion, depthwise convolution, linear projection; plus the input where channels agree.

    Attributes:
        kernel: Odd size of the depthwise kernel in pixels, at least 3.
        expansion: Inner channels over input channels.
        rate: Distance of the depthwise kernel's taps.
        groups: Of the pointwise convolutions, as far as channels can be divided by it.
    """

    kernel: int = 3
    expansion: int = 4
    rate: int = field(default=1, metadata=LATER)
    groups: int = field(default=1, metadata=LATER)

    def __post_init__(self) -> None:
        if self.kernel < 3 or self.kernel % 2 == 0 or min(self.expansion, self.rate, self.groups) < 1:
            raise SpaceError(
                f"inverted: {self!r} given; the kernel is odd and at least 3, the rest at least 1."
            )

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        inner = in_channels * self.expansion
        body = nn.Sequential(
            layers.conv_block(in_channels, inner, kernel=1, groups=math.gcd(self.groups, in_channels)),
            layers.conv_block(inner, inner, kernel=self.kernel, rate=self.rate, groups=inner),
            layers.conv(inner, out_channels, kernel=1, groups=math.gcd(self.groups, inner, out_channels)),
            layers.normalise(out_channels),
        )
        return _Added(body) if in_channels == out_channels else body


class _Added(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.body(x)
        return result
