"""FC-DenseNet56.

Source: Jégou et al. 2017, "The one hundred layers tiramisu: fully convolutional DenseNets for semantic segmentation",
    section 4.1, arXiv:1611.09326.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.register import entry
from search_spaces.tiramisu import Tiramisu


@entry("fc_densenet56")
@dataclass(frozen=True, slots=True)
class FcDenseNet56(Tiramisu):
    """Eleven blocks of 4 layers."""

    title: ClassVar[str] = "FC-DenseNet56"
    parameters: ClassVar[int] = 1_376_795
    growth: ClassVar[int] = 12
    depths: ClassVar[tuple[int, ...]] = (4, 4, 4, 4, 4, 4)
