"""DeepLabV3 on ResNet-50.

Source: Chen et al. 2017, "Rethinking atrous convolution for semantic image segmentation", arXiv:1706.05587.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.candidate import Candidate
from search_spaces.dilated import deeplabv3
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.start import start_from


@entry("deeplabv3_resnet50")
@dataclass(frozen=True, slots=True)
class DeepLabV3Resnet50(Preset):
    """Residual network of output stride 8, atrous pyramid, one hidden convolution."""

    title: ClassVar[str] = "DeepLabV3, ResNet-50, output stride 8"
    paper: ClassVar[str] = "Chen et al. 2017, DeepLabV3, arXiv:1706.05587"
    note: ClassVar[str] = (
        "As torchvision has it: no multi-grid, rates 12, 24, 36 at output stride 8, and an auxiliary head "
        "after the third stage (39,638,869 parameters without it), here without dropout."
    )
    channels: ClassVar[tuple[int, int]] = (3, 21)
    parameters: ClassVar[int] = 42_004_074  # torchvision's own metadata: 21 classes, with the auxiliary head

    def candidate(self) -> Candidate:
        return start_from(deeplabv3(50))
