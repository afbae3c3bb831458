"""RefineNet.

Source: Lin et al. 2017, "RefineNet: multi-path refinement networks for high-resolution semantic segmentation",
    arXiv:1611.06612.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.refinenet import RefineNetDecoder
from search_spaces.encoders.resnet import Resnet
from search_spaces.heads.conv import ConvHead
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.sum import Sum
from search_spaces.start import start_from


@entry("refinenet")
@dataclass(frozen=True, slots=True)
class RefineNet(Preset):
    """ResNet-101 and a cascade of four refinement blocks."""

    title: ClassVar[str] = "RefineNet, ResNet-101"
    paper: ClassVar[str] = "Lin et al. 2017, RefineNet, arXiv:1611.06612"
    note: ClassVar[str] = (
        "The released network: chains of four poolings, three residual units after each; no dropout before "
        "the cascade."
    )
    channels: ClassVar[tuple[int, int]] = (3, 21)
    parameters: ClassVar[int] = 118_052_437  # counted from DrSleep/refinenet-pytorch: 21 classes

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Resnet(101),
            context=NoContext(),
            skip=Sum(),
            decoder=RefineNetDecoder(256, deepest_width=512),
            head=ConvHead(kernel=3, dropout=0.5),
        )
        return start_from(architecture)
