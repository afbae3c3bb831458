"""R2U-Net.

Source: Alom et al. 2018, "Recurrent residual convolutional neural network based on U-Net (R2U-Net) for medical image
    segmentation", arXiv:1802.06955.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.cell import chain
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.unet import UNetDecoder
from search_spaces.encoders.cells import Cells
from search_spaces.operations.recurrent import Recurrent
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.concat import Concat
from search_spaces.start import start_from


@entry("r2unet")
@dataclass(frozen=True, slots=True)
class R2UNet(Preset):
    """A U-Net of recurrent residual units, each convolution applied three times."""

    title: ClassVar[str] = "R2U-Net, 64 to 1024 channels, t = 2"
    paper: ClassVar[str] = "Alom et al. 2018, R2U-Net, arXiv:1802.06955"
    note: ClassVar[str] = (
        "The re-write known by its parameters (LeeJunHyun/Image_Segmentation): batch normalisation after convolutions that "
        "keep their bias, nearest upsampling and a 3-convolution; the skip attention_gate makes it the one with attention "
        "(39,442,925 parameters)."
    )
    channels: ClassVar[tuple[int, int]] = (3, 1)
    parameters: ClassVar[int] = 39_091_393

    def candidate(self) -> Candidate:
        cell = chain(Recurrent())
        architecture = Architecture(
            encoder=Cells(cell, width=64, widest=1024, stages=5),
            context=NoContext(),
            skip=Concat(),
            decoder=UNetDecoder(cell, upsample="nearest_conv"),
            conv_bias=True,
        )
        return start_from(architecture)
