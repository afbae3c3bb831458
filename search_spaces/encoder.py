"""Encoders: an image becomes features at several strides."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from search_spaces.layers import Layers
from search_spaces.register import Entry


@dataclass(frozen=True, slots=True)
class Levels:
    """Shapes of a list of features, finest first.

    Attributes:
        channels: Channels of each level.
        strides: Input size over feature size of each level, each the one before or a multiple of it.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def with_deepest(self, channels: int) -> "Levels":
        """The same levels with other channels at the deepest one."""
        return Levels((*self.channels[:-1], channels), self.strides)


class Features(NamedTuple):
    """What an encoder hands over.

    Attributes:
        maps: One a level, finest first.
        pool_indices: Where the maxima were, one for each max-pooling, that into the second level first; empty where
            ``Layers.pool_indices`` did not ask for them.
    """

    maps: list[Tensor]
    pool_indices: list[Tensor]


class Encoder(Entry, ABC):
    """Contract: declares its levels, and builds a module that returns one feature map a level."""

    family: ClassVar[str] = "encoder"
    folder: ClassVar[str] = "search_spaces.encoders"

    @abstractmethod
    def levels(self) -> Levels:
        """Channels and strides of the features."""

    def pools_max(self) -> bool:
        """Whether each level but the first begins with a max-pooling by two, whose places a decoder may ask for."""
        return False

    def in_network(self) -> "Encoder":
        """The canonical form of a whole choice; what one field means may depend on later ones."""
        return self

    @abstractmethod
    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        """The module; input sizes are multiples of the last stride.

        Shape:
            (N, in_channels, *S) -> ``Features`` with maps (N, channels[i], *(S / strides[i])).
        """
