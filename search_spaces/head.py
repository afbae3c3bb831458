"""Heads: the decoder's result becomes logits."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from search_spaces.layers import Layers, Norm
from search_spaces.register import Entry


class Head(Entry, ABC):
    """Contract: one logit a class; what is left of the stride is interpolated afterwards."""

    family: ClassVar[str] = "head"
    folder: ClassVar[str] = "search_spaces.heads"

    def in_network(self, norm: Norm) -> "Head":
        """The canonical form in a network of this norm."""
        return self

    @abstractmethod
    def build(self, layers: Layers, in_channels: int, num_classes: int, *, stride: int) -> nn.Module:
        """The module.

        Args:
            stride: That of what it takes.

        Shape:
            (N, in_channels, *S) -> logits (N, num_classes, *(f * S)) with f = 1 or any divisor of the stride.
        """
