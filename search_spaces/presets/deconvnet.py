"""DeconvNet, which a survey of the field credits with the name of SegNet.

Source: Noh et al. 2015, "Learning deconvolution network for semantic segmentation", Table 2, arXiv:1505.04366.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.fully_convolutional import FullyConvolutional
from search_spaces.decoders.unpool import UnpoolDecoder
from search_spaces.encoders.plain import Plain
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.none import NoSkip
from search_spaces.start import start_from


@entry("deconvnet")
@dataclass(frozen=True, slots=True)
class DeconvNet(Preset):
    """VGG-16 with its fully connected layers, and the way back by unpooling."""

    title: ClassVar[str] = "DeconvNet, VGG-16 with fully connected layers and back"
    paper: ClassVar[str] = "Noh et al. 2015, DeconvNet, arXiv:1505.04366"
    note: ClassVar[str] = (
        "Features keep their size around the fully connected layers, where the paper's images of 224 pixels shrink to one; "
        "transposed convolutions of stride 1 are convolutions; whole images instead of object proposals, one stage of "
        "training instead of two. The parameters are counted on the paper's Table 2 with biases and batch normalisation, "
        "and are no published number."
    )
    channels: ClassVar[tuple[int, int]] = (3, 21)
    parameters: ClassVar[int] = 251_805_653

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Plain((64, 128, 256, 512, 512, 512), (2, 2, 3, 3, 3, 0)),
            context=FullyConvolutional(width=4096, back=512),
            skip=NoSkip(),
            decoder=UnpoolDecoder(depths=(2, 2, 3)),
            conv_bias=True,
        )
        return start_from(architecture)
