"""A transposed convolution to twice the size before the logits.

Source: Chaurasia and Culurciello 2017, "LinkNet: exploiting encoder representations for efficient semantic
    segmentation", Figure 1, arXiv:1707.03718; the kernels are those of Gu et al. 2019, "CE-Net: context encoder network
    for 2D medical image segmentation", arXiv:1903.02740.
Deviations: where the result has the image's size already, a 3-convolution stands for the transposed one.
"""

from dataclasses import dataclass

from torch import nn

from search_spaces.errors import SpaceError
from search_spaces.head import Head
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("transposed")
@dataclass(frozen=True, slots=True)
class TransposedHead(Head):
    """Transposed 4-convolution, 3-convolution, 3-convolution to the logits; activations, but no normalisation.

    Attributes:
        width: Channels of the first two.
    """

    width: int = 32

    def __post_init__(self) -> None:
        if self.width < 1:
            raise SpaceError(f"head: width {self.width} given; at least 1 is allowed.")

    def build(self, layers: Layers, in_channels: int, num_classes: int, *, stride: int) -> nn.Module:
        width = self.width
        first = (
            layers.transposed(in_channels, width, kernel=4)
            if stride % 2 == 0
            else layers.conv(in_channels, width, kernel=3, bias=True)
        )
        return nn.Sequential(
            first,
            layers.activate(width),
            layers.conv(width, width, kernel=3, bias=True),
            layers.activate(width),
            layers.conv(width, num_classes, kernel=3, bias=True),
        )
