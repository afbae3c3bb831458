"""Contexts: what the deepest features learn about the whole image before decoding."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from search_spaces.layers import Layers, Norm
from search_spaces.register import Entry


class Context(Entry, ABC):
    """Contract: keeps the size, may change the channels."""

    family: ClassVar[str] = "context"
    folder: ClassVar[str] = "search_spaces.contexts"

    @abstractmethod
    def out_channels(self, in_channels: int) -> int:
        """Channels that the module returns."""

    def in_network(self, norm: Norm) -> "Context":
        """The canonical form in a network of this norm: what does not matter there has its default."""
        return self

    @abstractmethod
    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        """The module.

        Shape:
            (N, in_channels, *S) -> (N, out_channels, *S), S >= 2 in each dimension.
        """
