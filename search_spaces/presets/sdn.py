"""Stacked deconvolutional network.

Source: Fu et al. 2019, "Stacked deconvolutional network for semantic segmentation", arXiv:1708.04943.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture, Auxiliary
from search_spaces.candidate import Candidate
from search_spaces.cell import chain
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.stacked import StackedDecoder
from search_spaces.encoders.densenet import DenseNet
from search_spaces.operations.conv import Conv
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.concat import Concat
from search_spaces.start import start_from


@entry("sdn")
@dataclass(frozen=True, slots=True)
class Sdn(Preset):
    """DenseNet-161 and three shallow decoders in a row, each with supervision of its own."""

    title: ClassVar[str] = "SDN, three units on DenseNet-161"
    paper: ClassVar[str] = "Fu et al. 2019, Stacked deconvolutional network, arXiv:1708.04943"
    note: ClassVar[str] = (
        "The topology of the paper: units between strides 16 and 4, connections within and between them, supervision of "
        "each map on the way up; every map has 256 channels from two 3-convolutions instead of growing dense blocks. The "
        "parameters, auxiliary heads included, are counted here and are no published number; those of the encoder are "
        "torchvision's DenseNet-161 without its last layer. From scratch, where the authors start from ImageNet."
    )
    channels: ClassVar[tuple[int, int]] = (3, 21)
    parameters: ClassVar[int] = 47_824_062

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=DenseNet(161, growth=48, output_stride=16),
            context=NoContext(),
            skip=Concat(),
            decoder=StackedDecoder(chain(Conv(3), Conv(3)), width=256, units=3),
            auxiliary=tuple(Auxiliary("decoder", level, weight=0.4) for level in range(1, 6)),
        )
        return start_from(architecture)
