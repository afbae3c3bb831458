"""Fronts: what happens to an image before the encoder, as part of the network."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from search_spaces.layers import Layers
from search_spaces.register import Entry


class Front(Entry, ABC):
    """Contract: keeps the size, may change the channels."""

    family: ClassVar[str] = "front"
    folder: ClassVar[str] = "search_spaces.fronts"

    @abstractmethod
    def out_channels(self, in_channels: int) -> int:
        """Channels that the module returns."""

    def stride(self) -> int:
        """Of its own smallest features: sizes that it takes are multiples of it."""
        return 1

    @abstractmethod
    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        """The module.

        Shape:
            (N, in_channels, *S) -> (N, out_channels, *S).
        """
