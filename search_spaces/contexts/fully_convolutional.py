"""The fully connected layers of a classifier as convolutions.

Source: Long et al. 2015, "Fully convolutional networks for semantic segmentation", section 3.1, arXiv:1411.4038; the way
    back to fewer channels is that of Noh et al. 2015, "Learning deconvolution network for semantic segmentation", Table 2,
    arXiv:1505.04366.
Deviations: convolutions are padded, so that features keep their size (the first paper pads the image by 100 pixels, the
    second one shrinks features to one pixel); dropout takes whole channels.
"""

from dataclasses import dataclass

from torch import nn

from search_spaces.context import Context
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("fully_convolutional")
@dataclass(frozen=True, slots=True)
class FullyConvolutional(Context):
    """A large convolution and a pointwise one, each with dropout.

    Attributes:
        width: Channels of both.
        kernel: Odd size of the large kernel in pixels of the deepest features.
        dropout: Share of the channels that is dropped in training after each.
        back: Channels of another large convolution after them; 0 for none.
    """

    width: int = 16
    kernel: int = 7
    dropout: float = 0.5
    back: int = 0

    def __post_init__(self) -> None:
        if (
            self.width < 1
            or self.kernel < 1
            or self.kernel % 2 == 0
            or self.back < 0
            or not 0 <= self.dropout < 1
        ):
            raise SpaceError(
                f"fully_convolutional: {self!r} given; a width from 1, an odd kernel, dropout in [0, 1) and back from 0 "
                "are allowed."
            )

    def out_channels(self, in_channels: int) -> int:
        return self.back or self.width

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        parts: list[nn.Module] = []
        before = in_channels
        for kernel in (self.kernel, 1):
            parts.append(layers.conv_block(before, self.width, kernel=kernel))
            if self.dropout:
                parts.append(layers.dropout(self.dropout))
            before = self.width
        if self.back:
            parts.append(layers.conv_block(self.width, self.back, kernel=self.kernel))
        return nn.Sequential(*parts)
