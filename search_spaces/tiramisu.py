"""Fully convolutional DenseNets, which differ in growth and depth.

Source: Jégou et al. 2017, "The one hundred layers tiramisu: fully convolutional DenseNets for semantic segmentation",
    arXiv:1611.09326.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.dense import DenseDecoder
from search_spaces.encoders.dense import Dense
from search_spaces.preset import Preset
from search_spaces.skips.concat import Concat
from search_spaces.start import start_from


@dataclass(frozen=True, slots=True)
class Tiramisu(Preset):
    """One of the networks.

    Attributes:
        growth: Channels that each layer adds.
        depths: Layers of the blocks on the way down, the deepest last.
    """

    paper: ClassVar[str] = "Jégou et al. 2017, The one hundred layers tiramisu, arXiv:1611.09326"
    note: ClassVar[str] = (
        "For the 11 classes of CamVid; trained parameters, while the paper's numbers count the running statistics of its "
        "batch normalisation, too; dropout takes whole channels."
    )
    channels: ClassVar[tuple[int, int]] = (3, 11)
    growth: ClassVar[int]
    depths: ClassVar[tuple[int, ...]]

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Dense(stem=48, growth=self.growth, depths=self.depths),
            context=NoContext(),
            skip=Concat(),
            decoder=DenseDecoder(growth=self.growth, depths=self.depths[:-1]),
            conv_bias=True,
        )
        return start_from(architecture)
