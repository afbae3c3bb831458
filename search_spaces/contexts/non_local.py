"""Non-local block.

Source: Wang et al. 2018, "Non-local neural networks", arXiv:1711.07971.
Deviations: none.
"""

from dataclasses import dataclass

from torch import nn

from search_spaces.attention import NonLocal
from search_spaces.context import Context
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("non_local")
@dataclass(frozen=True, slots=True)
class NonLocalBlock(Context):
    """Each place takes from all others as its embedding, of half the channels, resembles theirs."""

    def out_channels(self, in_channels: int) -> int:
        return in_channels

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return NonLocal(layers, in_channels)
