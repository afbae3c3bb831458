"""A dense block.

Source: Huang et al. 2017, "Densely connected convolutional networks", Eq. 2, arXiv:1608.06993.
Deviations: a pointwise convolution leads to the channels that the graph asks for.
"""

from dataclasses import dataclass

from torch import nn

from search_spaces.dense_block import DenseBlock
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry


@entry("dense")
@dataclass(frozen=True, slots=True)
class DenseOperation(Operation):
    """3-convolutions that see what all before them made, then a pointwise convolution.

    Attributes:
        depth: Number of 3-convolutions.
        growth: Channels that each adds.
    """

    depth: int = 2
    growth: int = 8

    def __post_init__(self) -> None:
        if self.depth < 1 or self.growth < 1:
            raise SpaceError(f"dense: {self!r} given; depth and growth are at least 1.")

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        block = DenseBlock(layers, in_channels, depth=self.depth, growth=self.growth, dropout=0.0, keep=True)
        made = in_channels + self.depth * self.growth
        return nn.Sequential(block, layers.conv_block(made, out_channels, kernel=1))
