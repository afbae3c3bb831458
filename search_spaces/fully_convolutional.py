"""Fully convolutional networks on VGG-16, which differ in how many finer levels take part.

Source: Long et al. 2015, "Fully convolutional networks for semantic segmentation", arXiv:1411.4038.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.fully_convolutional import FullyConvolutional
from search_spaces.decoders.scores import ScoresDecoder
from search_spaces.encoders.plain import Plain
from search_spaces.preset import Preset
from search_spaces.skips.score_sum import ScoreSum
from search_spaces.start import start_from


@dataclass(frozen=True, slots=True)
class FullyConvolutionalPreset(Preset):
    """One of the three networks.

    Attributes:
        fused: Finer levels that take part.
    """

    paper: ClassVar[str] = "Long et al. 2015, Fully convolutional networks, arXiv:1411.4038"
    note: ClassVar[str] = (
        "Parameters are the trained ones of the authors' prototxt for the 21 classes of PASCAL VOC: its transposed "
        "convolutions are fixed bilinear interpolations, which count nothing here; convolutions are padded instead of the "
        "image by 100 pixels; from scratch, where the authors start from ImageNet."
    )
    channels: ClassVar[tuple[int, int]] = (3, 21)
    fused: ClassVar[int]

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Plain((64, 128, 256, 512, 512), (2, 2, 3, 3, 3), hands_over="pooled"),
            context=FullyConvolutional(width=4096),
            skip=ScoreSum(),
            decoder=ScoresDecoder(fused=self.fused),
            norm="none",
        )
        return start_from(architecture, learning_rate=3e-4)
