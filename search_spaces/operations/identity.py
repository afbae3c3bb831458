"""Nothing, or a change of channels."""

from dataclasses import dataclass

from torch import nn

from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry


@entry("identity")
@dataclass(frozen=True, slots=True)
class Identity(Operation):
    """Passes its input on; where channels differ, a pointwise convolution with normalisation."""

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        return layers.projection(in_channels, out_channels)
