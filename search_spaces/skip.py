"""Skips: how a decoder takes in features of the encoder."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from search_spaces.layers import Layers
from search_spaces.register import Entry


class Skip(Entry, ABC):
    """Contract: joins fine features of the encoder with upsampled ones of the decoder, of one size."""

    family: ClassVar[str] = "skip"
    folder: ClassVar[str] = "search_spaces.skips"

    @abstractmethod
    def out_channels(self, fine: int, coarse: int) -> int:
        """Channels that the module returns."""

    @abstractmethod
    def build(self, layers: Layers, *, fine: int, coarse: int) -> nn.Module:
        """The module, called with the fine and the upsampled coarse features.

        Shape:
            (N, fine, *S), (N, coarse, *S) -> (N, out_channels, *S).
        """
