"""Convolution in groups of channels.

Source: Xie et al. 2017, "Aggregated residual transformations for deep neural networks", Figure 3 (c), arXiv:1611.05431.
Deviations: a pointwise convolution follows, which mixes the groups; there are fewer groups where they do not divide the
    channels.
"""

import math
from dataclasses import dataclass

from torch import nn

from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry


@entry("grouped")
@dataclass(frozen=True, slots=True)
class Grouped(Operation):
    """Grouped convolution, pointwise convolution, each with normalisation and activation.

    Attributes:
        kernel: Odd size of the kernel in pixels, at least 3.
        groups: Into how many parts channels are split; their greatest common divisor with the channels counts.
        rate: Distance of the kernel's taps.
    """

    kernel: int = 3
    groups: int = 4
    rate: int = 1

    def __post_init__(self) -> None:
        if self.kernel < 3 or self.kernel % 2 == 0 or self.groups < 2 or self.rate < 1:
            raise SpaceError(
                f"grouped: {self!r} given; an odd kernel from 3, groups from 2 and a rate from 1 are allowed."
            )

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        groups = math.gcd(self.groups, in_channels)
        return nn.Sequential(
            layers.conv_block(in_channels, in_channels, kernel=self.kernel, rate=self.rate, groups=groups),
            layers.conv_block(in_channels, out_channels, kernel=1),
        )
