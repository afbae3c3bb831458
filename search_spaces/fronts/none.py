"""Nothing before the encoder."""

from dataclasses import dataclass

from torch import nn

from search_spaces.front import Front
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("none")
@dataclass(frozen=True, slots=True)
class NoFront(Front):
    """Passes the image on."""

    def out_channels(self, in_channels: int) -> int:
        return in_channels

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return nn.Identity()
