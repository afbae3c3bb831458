"""Decoders: features at several strides become one map at a fine stride."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from search_spaces.encoder import Levels
from search_spaces.layers import Layers
from search_spaces.register import Entry
from search_spaces.skip import Skip


class Decoder(Entry, ABC):
    """Contract: takes the encoder's features, the deepest one after the context; the head follows."""

    family: ClassVar[str] = "decoder"
    folder: ClassVar[str] = "search_spaces.decoders"

    @abstractmethod
    def out_channels(self, levels: Levels) -> int:
        """Channels that the module returns."""

    @abstractmethod
    def build(self, layers: Layers, levels: Levels, skip: Skip) -> nn.Module:
        """The module.

        Shape:
            list of (N, channels[i], *(S / strides[i])) -> (N, out_channels, *(S / s)) for one of the strides
            s.
        """
