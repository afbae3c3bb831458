"""FCN-32s.

Source: Long et al. 2015, "Fully convolutional networks for semantic segmentation", Figure 3, arXiv:1411.4038.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.fully_convolutional import FullyConvolutionalPreset
from search_spaces.register import entry


@entry("fcn32s")
@dataclass(frozen=True, slots=True)
class Fcn32s(FullyConvolutionalPreset):
    """Scores of the deepest features, interpolated 32 times."""

    title: ClassVar[str] = "FCN-32s on VGG-16"
    parameters: ClassVar[int] = 134_346_581
    fused: ClassVar[int] = 0
