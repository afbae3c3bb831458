"""Attention U-Net of its authors, for volumes.

Source: Oktay et al. 2018, "Attention U-Net: learning where to look for the pancreas", arXiv:1804.03999.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.cell import chain
from search_spaces.contexts.cell import CellContext
from search_spaces.decoders.joined_scores import JoinedScores
from search_spaces.decoders.unet import UNetDecoder
from search_spaces.encoders.cells import Cells
from search_spaces.operations.conv import Conv
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.concat import Concat
from search_spaces.skips.grid_attention import GridAttention
from search_spaces.start import start_from


@entry("attention_unet_3d")
@dataclass(frozen=True, slots=True)
class AttentionUNet3d(Preset):
    """Two gates on each skip but the finest, and scores of every level joined to one."""

    title: ClassVar[str] = "Attention U-Net for volumes, 16 to 256 channels"
    paper: ClassVar[str] = "Oktay et al. 2018, Attention U-Net, arXiv:1804.03999"
    note: ClassVar[str] = (
        "unet_CT_multi_att_dsv_3D of the authors' repository at a quarter of the width; the gating convolution is the "
        "context, so the decoder sees its result, too, where the authors' decoder sees what is before it; a gate takes "
        "its signal after upsampling."
    )
    channels: ClassVar[tuple[int, int]] = (1, 2)
    parameters: ClassVar[int] = 6_472_784
    ndim: ClassVar[int] = 3

    def candidate(self) -> Candidate:
        cell = chain(Conv(3), Conv(3))
        architecture = Architecture(
            encoder=Cells(cell, width=16, widest=256, stages=5),
            context=CellContext(chain(Conv(1)), width=256),
            skip=GridAttention(gates=2),
            decoder=JoinedScores(UNetDecoder(cell, upsample="interpolated", finest_skip=Concat())),
            conv_bias=True,
        )
        return start_from(architecture)
