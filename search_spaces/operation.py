"""Operations: what a node of a cell computes."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from search_spaces.layers import Layers
from search_spaces.register import Entry


class Operation(Entry, ABC):
    """Contract: maps any number of channels to any number and keeps the size."""

    family: ClassVar[str] = "operation"
    folder: ClassVar[str] = "search_spaces.operations"

    @abstractmethod
    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        """The module.

        Shape:
            (N, in_channels, *S) -> (N, out_channels, *S).
        """
