"""FCN-16s.

Source: Long et al. 2015, "Fully convolutional networks for semantic segmentation", Figure 3, arXiv:1411.4038.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.fully_convolutional import FullyConvolutionalPreset
from search_spaces.register import entry


@entry("fcn16s")
@dataclass(frozen=True, slots=True)
class Fcn16s(FullyConvolutionalPreset):
    """Scores at strides 16 and 32, interpolated 16 times."""

    title: ClassVar[str] = "FCN-16s on VGG-16"
    parameters: ClassVar[int] = 134_357_354
    fused: ClassVar[int] = 1
