"""Partially reversible U-Net.

Source: Brügger et al. 2019, "A partially reversible U-Net for memory-efficient volumetric image segmentation",
    arXiv:1906.06148.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.reversible import ReversibleDecoder
from search_spaces.encoders.reversible import Reversible
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.sum import Sum
from search_spaces.start import start_from


@entry("reversible_unet")
@dataclass(frozen=True, slots=True)
class ReversibleUNet(Preset):
    """Twice the width of its plain twin with the same number of parameters and less memory in training."""

    title: ClassVar[str] = "Partially reversible U-Net, 60 to 480 channels"
    paper: ClassVar[str] = "Brügger et al. 2019, Partially reversible U-Net, arXiv:1906.06148"
    note: ClassVar[str] = (
        "The volumetric network of the authors' repository for the four channels and three regions of BraTS; eight groups "
        "in the group normalisation instead of 30; one class of a softmax each instead of three sigmoids. An encoder of "
        "depth 2 makes it the authors' larger one (18,248,403 parameters)."
    )
    channels: ClassVar[tuple[int, int]] = (4, 3)
    parameters: ClassVar[int] = 12_365_283
    ndim: ClassVar[int] = 3

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Reversible((60, 120, 240, 360, 480)),
            context=NoContext(),
            skip=Sum(),
            decoder=ReversibleDecoder(),
            norm="group",
            activation="leaky_relu",
        )
        return start_from(architecture)
