"""Attention to scale.

Source: Chen et al. 2016, "Attention to scale: scale-aware semantic image segmentation", arXiv:1511.03339.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from search_spaces.candidate import Candidate
from search_spaces.dilated import deeplabv3
from search_spaces.preset import Preset
from search_spaces.pyramid import ScaleAttention
from search_spaces.register import entry
from search_spaces.start import start_from


@entry("attention_to_scale")
@dataclass(frozen=True, slots=True)
class AttentionToScale(Preset):
    """One DeepLab on three sizes of the image, mixed by attention, with a loss for each size."""

    title: ClassVar[str] = "Attention to scale, ResNet-50"
    paper: ClassVar[str] = "Chen et al. 2016, Attention to scale, arXiv:1511.03339"
    note: ClassVar[str] = (
        "DeepLabV3 on ResNet-50 instead of DeepLab with a large field of view on VGG-16; any architecture "
        "can be put in its place. No parameter count is published."
    )
    channels: ClassVar[tuple[int, int]] = (3, 21)
    parameters: ClassVar[int] = 43_180_376  # 39,638,869 of DeepLabV3, and the mixing

    def candidate(self) -> Candidate:
        pyramid = ScaleAttention(scales=(1.0, 0.75, 0.5), width=512)
        return start_from(replace(deeplabv3(50), auxiliary=(), pyramid=pyramid))
