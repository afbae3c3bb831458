"""SegNet-Basic.

Source: Badrinarayanan et al. 2017, "SegNet: a deep convolutional encoder-decoder architecture for image segmentation",
    section 3.1, arXiv:1511.00561.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.unpool import UnpoolDecoder
from search_spaces.encoders.plain import Plain
from search_spaces.fronts.lrn import ResponseNormalised
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.none import NoSkip
from search_spaces.start import start_from


@entry("segnet_basic")
@dataclass(frozen=True, slots=True)
class SegNetBasic(Preset):
    """Four 7-convolutions of 64 channels down, four without activation up."""

    title: ClassVar[str] = "SegNet-Basic, 64 channels"
    paper: ClassVar[str] = "Badrinarayanan et al. 2017, SegNet, arXiv:1511.00561"
    note: ClassVar[str] = (
        "The network of the authors' segnet_basic_train.prototxt for the 11 classes of CamVid: local response normalisation "
        "of the image, convolutions with a bias before batch normalisation."
    )
    channels: ClassVar[tuple[int, int]] = (3, 11)
    parameters: ClassVar[int] = 1_416_587

    def candidate(self) -> Candidate:
        architecture = Architecture(
            front=ResponseNormalised(),
            encoder=Plain((64, 64, 64, 64, 64), (1, 1, 1, 1, 0), kernel=7),
            context=NoContext(),
            skip=NoSkip(),
            decoder=UnpoolDecoder(depths=(1,), kernel=7, activate=False),
            conv_bias=True,
        )
        return start_from(architecture)
