"""Fully convolutional network on ResNet-101.

Source: Long et al. 2015, "Fully convolutional networks for semantic segmentation", arXiv:1411.4038; the dilated residual
    network and the head are those of torchvision's ``fcn_resnet101``.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.candidate import Candidate
from search_spaces.dilated import fcn
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.start import start_from


@entry("fcn_resnet101")
@dataclass(frozen=True, slots=True)
class FcnResnet101(Preset):
    """A dilated residual network and one hidden convolution."""

    title: ClassVar[str] = "FCN, dilated ResNet-101"
    paper: ClassVar[str] = "Long et al. 2015, Fully convolutional networks, arXiv:1411.4038"
    note: ClassVar[str] = (
        "The dilated ResNet-101 of torchvision instead of VGG-16 with score sums; its auxiliary head has "
        "no dropout."
    )
    channels: ClassVar[tuple[int, int]] = (3, 21)
    parameters: ClassVar[int] = 54_314_346  # torchvision's own metadata: 21 classes, with the auxiliary head

    def candidate(self) -> Candidate:
        return start_from(fcn(101))
