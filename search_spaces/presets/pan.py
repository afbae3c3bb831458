"""Pyramid attention network.

Source: Li et al. 2018, "Pyramid attention network for semantic segmentation", arXiv:1805.10180.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.pyramid_attention import PyramidAttention
from search_spaces.decoders.fpn import FpnDecoder
from search_spaces.encoders.resnet import Resnet
from search_spaces.heads.conv import ConvHead
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.global_attention import GlobalAttention
from search_spaces.start import start_from


@entry("pan")
@dataclass(frozen=True, slots=True)
class Pan(Preset):
    """Residual network of output stride 16, feature pyramid attention, global attention at each level of a decoder."""

    title: ClassVar[str] = "PAN, ResNet-50"
    paper: ClassVar[str] = "Li et al. 2018, PAN, arXiv:1805.10180"
    note: ClassVar[str] = (
        "ResNet-50 instead of 101; widths of segmentation_models.pytorch, whose network has 262 biases "
        "before norms more; the pyramid weighs all channels alike."
    )
    channels: ClassVar[tuple[int, int]] = (3, 21)
    parameters: ClassVar[int] = (
        24_265_334  # segmentation_models.pytorch 0.6.0: 24,265,596, with 262 biases before norms
    )

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Resnet(50, output_stride=16),
            context=PyramidAttention(32),
            skip=GlobalAttention(),
            decoder=FpnDecoder(32, finest=1, smooth=False),
            head=ConvHead(kernel=3),
        )
        return start_from(architecture)
