"""Pooling that keeps the size.

Source: Liu et al. 2019, "DARTS: differentiable architecture search", section 3.1, arXiv:1806.09055.
Deviations: none.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry


@entry("pool")
@dataclass(frozen=True, slots=True)
class Pool(Operation):
    """Maximum or mean around each pixel; where channels differ, a pointwise convolution with normalisation follows.

    Attributes:
        of: What is taken.
        kernel: Odd size of the window in pixels, at least 3.
    """

    of: Literal["max", "mean"] = "max"
    kernel: int = 3

    def __post_init__(self) -> None:
        if self.kernel < 3 or self.kernel % 2 == 0:
            raise SpaceError(f"pool: kernel {self.kernel} given; odd sizes from 3 are allowed.")

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        return nn.Sequential(layers.pool(self.of, self.kernel), layers.projection(in_channels, out_channels))
