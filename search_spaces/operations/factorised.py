"""Convolution along one dimension after the other.

Source: Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision", section 3.2, arXiv:1512.00567.
Deviations: in three dimensions there are three convolutions.
"""

from dataclasses import dataclass

from torch import nn

from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry


@entry("factorised")
@dataclass(frozen=True, slots=True)
class Factorised(Operation):
    """A convolution of length ``kernel`` along each dimension, each with normalisation and activation.

    Attributes:
        kernel: Odd length in pixels, at least 3.
        rate: Distance of the kernel's taps.
    """

    kernel: int = 3
    rate: int = 1

    def __post_init__(self) -> None:
        if self.kernel < 3 or self.kernel % 2 == 0 or self.rate < 1:
            raise SpaceError(
                f"factorised: {self!r} given; an odd kernel from 3 and a rate from 1 are allowed."
            )

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        parts = nn.Sequential()
        before = in_channels
        for dim in range(layers.ndim):
            kernel = tuple(self.kernel if place == dim else 1 for place in range(layers.ndim))
            parts.append(layers.conv_block(before, out_channels, kernel=kernel, rate=self.rate))
            before = out_channels
        return parts
