"""DeepLabV3+ on ResNet-101.

Source: Chen et al. 2018, "Encoder-decoder with atrous separable convolution for semantic image segmentation",
    arXiv:1802.02611.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.candidate import Candidate
from search_spaces.dilated import deeplabv3plus
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.start import start_from


@entry("deeplabv3plus_resnet101")
@dataclass(frozen=True, slots=True)
class DeepLabV3PlusResnet101(Preset):
    """Residual network of output stride 16, atrous pyramid, fusion at stride 4."""

    title: ClassVar[str] = "DeepLabV3+, ResNet-101, output stride 16"
    paper: ClassVar[str] = "Chen et al. 2018, DeepLabV3+, arXiv:1802.02611"
    note: ClassVar[str] = (
        "ResNet-101 instead of Xception, plain instead of separable convolutions, and one 3-convolution "
        "after the fusion instead of two: the variant of the PyTorch re-write whose parameter count is "
        "known."
    )
    channels: ClassVar[tuple[int, int]] = (3, 21)
    parameters: ClassVar[int] = (
        58_753_973  # counted from VainF/DeepLabV3Plus-Pytorch: 21 classes, no separable convolutions
    )

    def candidate(self) -> Candidate:
        return start_from(deeplabv3plus(101))
