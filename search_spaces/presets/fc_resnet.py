"""Learned normalisation and a fully convolutional residual network.

Source: Drozdzal et al. 2018, "Learning normalized inputs for iterative estimation in medical image segmentation",
    arXiv:1702.05174.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.cell import chain
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.unet import UNetDecoder
from search_spaces.encoders.cells import Cells
from search_spaces.fronts.learned import LearnedNormaliser
from search_spaces.operations.bottleneck import Bottleneck
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.sum import Sum
from search_spaces.start import start_from


@entry("fc_resnet")
@dataclass(frozen=True, slots=True)
class FcResNet(Preset):
    """A small network normalises the image; residual bottlenecks with long sums segment it."""

    title: ClassVar[str] = "Learned normaliser and FC-ResNet"
    paper: ClassVar[str] = "Drozdzal et al. 2018, Learning normalized inputs, arXiv:1702.05174"
    note: ClassVar[str] = (
        "The idea of the paper, not its table of layers: three bottlenecks a level instead of up to ten, five levels, and "
        "activations after the sums. The parameters are counted here and are no published number."
    )
    channels: ClassVar[tuple[int, int]] = (1, 2)
    parameters: ClassVar[int] = 7_596_979

    def candidate(self) -> Candidate:
        cell = chain(Bottleneck(), Bottleneck(), Bottleneck())
        architecture = Architecture(
            front=LearnedNormaliser(width=16, depth=4),
            encoder=Cells(cell, width=64, widest=1024, stages=5),
            context=NoContext(),
            skip=Sum(),
            decoder=UNetDecoder(cell, upsample="bilinear"),
        )
        return start_from(architecture)
