"""Attention U-Net.

Source: Oktay et al. 2018, "Attention U-Net: learning where to look for the pancreas", arXiv:1804.03999.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.cell import chain
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.unet import UNetDecoder
from search_spaces.encoders.cells import Cells
from search_spaces.operations.conv import Conv
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.attention_gate import AttentionGate
from search_spaces.start import start_from


@entry("attention_unet")
@dataclass(frozen=True, slots=True)
class AttentionUNet(Preset):
    """A U-Net with an attention gate on each skip."""

    title: ClassVar[str] = "Attention U-Net, 64 to 1024 channels"
    paper: ClassVar[str] = "Oktay et al. 2018, Attention U-Net, arXiv:1804.03999"
    note: ClassVar[str] = (
        "The two-dimensional re-write known by its 34.88 M parameters (LeeJunHyun/Image_Segmentation): batch normalisation "
        "after convolutions that keep their bias, nearest upsampling and a 3-convolution, a gate at every level; the "
        "paper's own network is three-dimensional and narrower."
    )
    channels: ClassVar[tuple[int, int]] = (3, 1)
    parameters: ClassVar[int] = 34_878_573

    def candidate(self) -> Candidate:
        cell = chain(Conv(3), Conv(3))
        architecture = Architecture(
            encoder=Cells(cell, width=64, widest=1024, stages=5),
            context=NoContext(),
            skip=AttentionGate(),
            decoder=UNetDecoder(cell, upsample="nearest_conv"),
            conv_bias=True,
        )
        return start_from(architecture)
