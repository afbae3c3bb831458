"""Reversible residual blocks.

Source: Gomez et al. 2017, "The reversible residual network: backpropagation without storing activations", Eq. 6 to 8,
    arXiv:1707.04585.
Deviations: where channels change, a pointwise convolution with normalisation comes first.
"""

from dataclasses import dataclass

from torch import nn

from search_spaces.errors import ShapeError, SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry
from search_spaces.reversible import ReversibleBlocks


@entry("reversible")
@dataclass(frozen=True, slots=True)
class ReversibleOperation(Operation):
    """Blocks of two 3-convolutions of half the channels, whose activations training computes again.

    Attributes:
        depth: Number of blocks.
    """

    depth: int = 1

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise SpaceError(f"reversible: depth {self.depth} given; at least 1 is allowed.")

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        if out_channels % 2:
            raise ShapeError(f"reversible: {out_channels} channels given; an even number can be halved.")
        blocks = ReversibleBlocks(layers, out_channels, depth=self.depth)
        return nn.Sequential(layers.projection(in_channels, out_channels), blocks)
