"""Hybrid dilated convolution and dense upsampling convolution.

Source: Wang et al. 2018, "Understanding convolution for semantic segmentation", arXiv:1702.08502.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.deepest import Deepest
from search_spaces.encoders.resnet import Resnet
from search_spaces.heads.duc import DucHead
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.none import NoSkip
from search_spaces.start import start_from


@entry("hdc_duc")
@dataclass(frozen=True, slots=True)
class HdcDuc(Preset):
    """ResNet-152 of output stride 8 with hybrid dilation; logits of all pixels of a cell as channels."""

    title: ClassVar[str] = "TuSimple HDC and DUC, ResNet-152"
    paper: ClassVar[str] = "Wang et al. 2018, HDC and DUC, arXiv:1702.08502"
    note: ClassVar[str] = (
        "Without ASPP; logits are normalised and not rectified, see the head; hybrid dilation adds no "
        "parameter."
    )
    channels: ClassVar[tuple[int, int]] = (3, 21)
    parameters: ClassVar[int] = 82_920_448  # counted from zijundeng/pytorch-semantic-segmentation: 21 classes

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Resnet(152, output_stride=8, block_rates=((1, 2, 5, 9), (5, 9, 17))),
            context=NoContext(),
            skip=NoSkip(),
            decoder=Deepest(),
            head=DucHead(),
        )
        return start_from(architecture)
