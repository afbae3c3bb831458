"""FC-DenseNet103.

Source: Jégou et al. 2017, "The one hundred layers tiramisu: fully convolutional DenseNets for semantic segmentation",
    section 4.1, arXiv:1611.09326.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.register import entry
from search_spaces.tiramisu import Tiramisu


@entry("fc_densenet103")
@dataclass(frozen=True, slots=True)
class FcDenseNet103(Tiramisu):
    """Blocks of 4 to 15 layers."""

    title: ClassVar[str] = "FC-DenseNet103"
    parameters: ClassVar[int] = 9_322_091
    growth: ClassVar[int] = 16
    depths: ClassVar[tuple[int, ...]] = (4, 5, 7, 10, 12, 15)
