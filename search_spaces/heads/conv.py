"""One convolution to the logits."""

from dataclasses import dataclass, field

from torch import nn

from search_spaces.codec import LATER
from search_spaces.errors import SpaceError
from search_spaces.head import Head
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("conv")
@dataclass(frozen=True, slots=True)
class ConvHead(Head):
    """A convolution.

    Attributes:
        kernel: Odd size of the kernel in pixels; 1 is the usual pointwise classifier.
        dropout: Share of the channels that is dropped before it in training.
        bias: Whether it has one.
    """

    kernel: int = 1
    dropout: float = 0.0
    bias: bool = field(default=True, metadata=LATER)

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0 or not 0 <= self.dropout < 1:
            raise SpaceError(f"head: {self!r} given; the kernel is odd and dropout in [0, 1).")

    def build(self, layers: Layers, in_channels: int, num_classes: int, *, stride: int) -> nn.Module:
        conv = layers.conv(in_channels, num_classes, kernel=self.kernel, bias=self.bias)
        if not self.dropout:
            return conv
        return nn.Sequential(layers.dropout(self.dropout), conv)
