"""Dual attention network.

Source: Fu et al. 2019, "Dual attention network for scene segmentation", arXiv:1809.02983.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture, Auxiliary
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.dual_attention import DualAttentionDecoder
from search_spaces.encoders.resnet import Resnet
from search_spaces.heads.conv import ConvHead
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.none import NoSkip
from search_spaces.start import start_from


@entry("danet")
@dataclass(frozen=True, slots=True)
class DaNet(Preset):
    """Dilated residual network, attention between places and between channels, three heads."""

    title: ClassVar[str] = "DANet, ResNet-101"
    paper: ClassVar[str] = "Fu et al. 2019, DANet, arXiv:1809.02983"
    note: ClassVar[str] = (
        "The auxiliary heads, one for each attention, have no dropout; without them the network has 19,494 "
        "parameters less."
    )
    channels: ClassVar[tuple[int, int]] = (3, 19)
    parameters: ClassVar[int] = 66_454_779  # counted from the authors' code: body 42,500,160, head 23,954,619

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Resnet(101, output_stride=8),
            context=NoContext(),
            skip=NoSkip(),
            decoder=DualAttentionDecoder(512),
            head=ConvHead(dropout=0.1),
            auxiliary=tuple(Auxiliary(of="decoder", level=attention, weight=1.0) for attention in (1, 2)),
        )
        return start_from(architecture)
