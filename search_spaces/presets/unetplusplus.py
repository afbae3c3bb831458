"""UNet++.

Source: Zhou et al. 2018, "UNet++: a nested U-Net architecture for medical image segmentation", arXiv:1807.10165.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.cell import chain
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.nested import NestedDecoder
from search_spaces.encoders.cells import Cells
from search_spaces.operations.conv import Conv
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.concat import Concat
from search_spaces.start import start_from


@entry("unetplusplus")
@dataclass(frozen=True, slots=True)
class UNetPlusPlus(Preset):
    """Nested dense skips between 32 and 512 channels."""

    title: ClassVar[str] = "UNet++, 32 to 512 channels"
    paper: ClassVar[str] = "Zhou et al. 2018, UNet++, arXiv:1807.10165"
    note: ClassVar[str] = (
        "The network of the authors' repository (Keras, no normalisation, 9.04 M parameters) without its deep supervision, "
        "with which their own results are no better; three auxiliary heads on the decoder's further maps add it (99 "
        "parameters for one class), of which the paper averages the results and this network returns the last."
    )
    channels: ClassVar[tuple[int, int]] = (3, 1)
    parameters: ClassVar[int] = 9_042_177

    def candidate(self) -> Candidate:
        cell = chain(Conv(3), Conv(3))
        architecture = Architecture(
            encoder=Cells(cell, width=32, widest=512, stages=5),
            context=NoContext(),
            skip=Concat(),
            decoder=NestedDecoder(cell),
            norm="none",
        )
        return start_from(architecture, learning_rate=3e-4)
