"""Residual attention network as the encoder of a segmentation network.

Source: Wang et al. 2017, "Residual attention network for image classification", arXiv:1704.06904.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.fpn import FpnDecoder
from search_spaces.encoders.residual_attention import ResidualAttention
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.sum import Sum
from search_spaces.start import start_from


@entry("residual_attention")
@dataclass(frozen=True, slots=True)
class ResidualAttentionPreset(Preset):
    """Attention-56 with a decoder that the paper does not have."""

    title: ClassVar[str] = "Attention-56 with a pyramid decoder"
    paper: ClassVar[str] = "Wang et al. 2017, Residual attention network, arXiv:1704.06904"
    note: ClassVar[str] = (
        "The paper classifies images; its encoder counts 31.8 million parameters with the classifier of 1000 classes (the "
        "paper says 31.9). The decoder is a choice of this repository, so the parameters are no published number. From "
        "scratch."
    )
    channels: ClassVar[tuple[int, int]] = (3, 21)
    parameters: ClassVar[int] = 31_276_501

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=ResidualAttention(width=64),
            context=NoContext(),
            skip=Sum(),
            decoder=FpnDecoder(width=256),
        )
        return start_from(architecture)
