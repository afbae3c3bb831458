"""No context module."""

from dataclasses import dataclass

from torch import nn

from search_spaces.context import Context
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("none")
@dataclass(frozen=True, slots=True)
class NoContext(Context):
    """Passes the deepest features on."""

    def out_channels(self, in_channels: int) -> int:
        return in_channels

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return nn.Identity()
