"""NAS-Unet, the decoded network.

Source: Weng et al. 2019, "NAS-Unet: neural architecture search for medical image segmentation",
    doi:10.1109/ACCESS.2019.2908991.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.candidate import Candidate
from search_spaces.nas_unet import nas_unet
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.start import start_from


@entry("nas_unet")
@dataclass(frozen=True, slots=True)
class NasUNet(Preset):
    """Found cells that halve and double the size, five down and six up."""

    title: ClassVar[str] = "NAS-Unet, decoded, 32 channels"
    paper: ClassVar[str] = "Weng et al. 2019, NAS-Unet, doi:10.1109/ACCESS.2019.2908991"
    note: ClassVar[str] = (
        "The cells of the authors' code (V2), which counts 485,746 parameters: 4 of them are in a norm of "
        "the logits that it never calls. Group normalisation has 8 groups instead of 16 channels a group."
    )
    channels: ClassVar[tuple[int, int]] = (1, 2)
    parameters: ClassVar[int] = 485_742  # the authors' code: 485,746, with 2 idle ones a class

    def candidate(self) -> Candidate:
        return start_from(nas_unet(32))
