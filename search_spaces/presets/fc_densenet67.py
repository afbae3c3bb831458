"""FC-DenseNet67.

Source: Jégou et al. 2017, "The one hundred layers tiramisu: fully convolutional DenseNets for semantic segmentation",
    section 4.1, arXiv:1611.09326.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.register import entry
from search_spaces.tiramisu import Tiramisu


@entry("fc_densenet67")
@dataclass(frozen=True, slots=True)
class FcDenseNet67(Tiramisu):
    """Eleven blocks of 5 layers."""

    title: ClassVar[str] = "FC-DenseNet67"
    parameters: ClassVar[int] = 3_463_243
    growth: ClassVar[int] = 16
    depths: ClassVar[tuple[int, ...]] = (5, 5, 5, 5, 5, 5)
