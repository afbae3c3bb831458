"""Decoders: features at several strides become one map at a fine stride, and coarser ones on the way."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from search_spaces.encoder import Levels
from search_spaces.layers import Layers
from search_spaces.register import Entry
from search_spaces.skip import Skip


class Decoder(Entry, ABC):
    """Contract: takes the encoder's features, the deepest one after the context; the head follows.

    Attributes:
        classifies: Whether what it returns are logits already, so that the head is left out.
        unpools: Whether it needs the places of the encoder's maxima.
        finds_objects: Whether it is trained by losses of its own, which compare objects: the loss is ``detection`` alone, and
            the module has ``losses`` and ``counted``, see ``mask_rcnn``.
    """

    family: ClassVar[str] = "decoder"
    folder: ClassVar[str] = "search_spaces.decoders"
    classifies: ClassVar[bool] = False
    unpools: ClassVar[bool] = False
    finds_objects: ClassVar[bool] = False

    @abstractmethod
    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        """Channels and strides of what the module returns: the result first, then maps for auxiliary heads."""

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        """Why it cannot follow such an encoder and skip; None where it can."""
        return None

    def reads_deepest(self, levels: Levels) -> bool:
        """Whether its result depends on the deepest map, which is the context's."""
        return True

    def takes_skips(self, levels: Levels) -> bool:
        """Whether it builds a skip at all."""
        return len(levels.channels) > 1

    def in_network(self, levels: Levels, skip: Skip, *, bias: bool) -> "Decoder":
        """The canonical form after such levels and skip, where the network's convolutions before a norm have a bias or not."""
        return self

    @abstractmethod
    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        """The module.

        Shape:
            ``Features`` with maps (N, channels[i], *(S / strides[i])) -> list of maps as ``out_levels`` says.
        """


def refuse_wider(kind: str, skip: Skip) -> str | None:
    """Why a decoder of one width cannot take a skip that returns more channels than the upsampled features have."""
    if skip.out_channels(8, 8) == 8:
        return None
    return f"{kind} keeps its channels, which skip {skip.kind!r} does not; choose sum or none."
