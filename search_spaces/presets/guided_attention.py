"""Multi-scale self-guided attention.

Source: Sinha and Dolz 2021, "Multi-scale self-guided attention for medical image segmentation", arXiv:1906.02849.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture, Auxiliary
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.guided_attention import GuidedAttentionDecoder
from search_spaces.encoders.resnet import Resnet
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.none import NoSkip
from search_spaces.start import start_from


@entry("guided_attention")
@dataclass(frozen=True, slots=True)
class GuidedAttention(Preset):
    """ResNet-101; attention at four scales, guided by all of them."""

    title: ClassVar[str] = "Multi-scale self-guided attention on ResNet-101"
    paper: ClassVar[str] = "Sinha and Dolz 2021, Multi-scale self-guided attention, arXiv:1906.02849"
    note: ClassVar[str] = (
        "The topology of the paper without its reconstruction losses; each scale has supervision by an auxiliary head. "
        "Positions attend to one another at stride 4, so memory grows with the square of the image's pixels. The "
        "parameters are counted here and are no published number. From scratch."
    )
    channels: ClassVar[tuple[int, int]] = (1, 5)
    parameters: ClassVar[int] = 44_571_945

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Resnet(101),
            context=NoContext(),
            skip=NoSkip(),
            decoder=GuidedAttentionDecoder(width=64),
            auxiliary=tuple(Auxiliary("decoder", level, weight=0.4) for level in range(1, 5)),
        )
        return start_from(architecture)
