"""SegNet.

Source: Badrinarayanan et al. 2017, "SegNet: a deep convolutional encoder-decoder architecture for image segmentation",
    arXiv:1511.00561.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.unpool import UnpoolDecoder
from search_spaces.encoders.plain import Plain
from search_spaces.heads.conv import ConvHead
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.none import NoSkip
from search_spaces.start import start_from


@entry("segnet")
@dataclass(frozen=True, slots=True)
class SegNet(Preset):
    """The thirteen convolutions of VGG-16 and their mirror image, joined by the places of the maxima."""

    title: ClassVar[str] = "SegNet, VGG-16 and back"
    paper: ClassVar[str] = "Badrinarayanan et al. 2017, SegNet, arXiv:1511.00561"
    note: ClassVar[str] = (
        "The network of the authors' segnet_train.prototxt for the 11 classes of CamVid, whose convolutions have a bias "
        "before batch normalisation; from scratch, where the authors start from ImageNet."
    )
    channels: ClassVar[tuple[int, int]] = (3, 11)
    parameters: ClassVar[int] = 29_449_355

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Plain((64, 128, 256, 512, 512, 512), (2, 2, 3, 3, 3, 0)),
            context=NoContext(),
            skip=NoSkip(),
            decoder=UnpoolDecoder(depths=(1, 2, 3)),
            head=ConvHead(kernel=3),
            conv_bias=True,
        )
        return start_from(architecture)
