"""The U-Net of the paper: no normalisation.

Source: Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical image segmentation", Figure 1,
    arXiv:1505.04597.
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
from search_spaces.skips.concat import Concat
from search_spaces.start import start_from


@entry("unet_original")
@dataclass(frozen=True, slots=True)
class UNetOriginal(Preset):
    """Convolutions with a bias and nothing between them and the activation."""

    title: ClassVar[str] = "U-Net without normalisation"
    paper: ClassVar[str] = "Ronneberger et al. 2015, U-Net, arXiv:1505.04597"
    note: ClassVar[str] = (
        "Convolutions are padded (the paper's map 572 pixels to 388); no dropout at the deepest level; the parameters "
        "follow from the paper's figure for one channel and two classes."
    )
    channels: ClassVar[tuple[int, int]] = (1, 2)
    parameters: ClassVar[int] = 31_030_658

    def candidate(self) -> Candidate:
        cell = chain(Conv(3), Conv(3))
        architecture = Architecture(
            encoder=Cells(cell, width=64, widest=1024, stages=5),
            context=NoContext(),
            skip=Concat(),
            decoder=UNetDecoder(cell),
            norm="none",
        )
        return start_from(architecture, learning_rate=3e-4)
