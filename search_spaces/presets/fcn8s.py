"""FCN-8s.

Source: Long et al. 2015, "Fully convolutional networks for semantic segmentation", Figure 3, arXiv:1411.4038.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.fully_convolutional import FullyConvolutionalPreset
from search_spaces.register import entry


@entry("fcn8s")
@dataclass(frozen=True, slots=True)
class Fcn8s(FullyConvolutionalPreset):
    """Scores at strides 8, 16 and 32, interpolated 8 times."""

    title: ClassVar[str] = "FCN-8s on VGG-16"
    parameters: ClassVar[int] = 134_362_751
    fused: ClassVar[int] = 2
