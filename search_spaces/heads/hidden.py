"""One hidden convolution before the logits.

Source: Zhao et al. 2017, "Pyramid scene parsing network", arXiv:1612.01105, whose code has this head; so have the fully
    convolutional networks and DeepLabV3 of torchvision.
Deviations: none.
"""

from dataclasses import dataclass, field

from torch import nn

from search_spaces.codec import LATER
from search_spaces.errors import SpaceError
from search_spaces.head import Head
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("hidden")
@dataclass(frozen=True, slots=True)
class HiddenHead(Head):
    """Convolution, normalisation, activation, dropout, and a convolution with a bias to the logits.

    Attributes:
        width: Channels of the hidden convolution.
        dropout: Share of its channels that is dropped in training.
        kernel: Odd size of its kernel in pixels.
        last: Odd size of the last convolution's kernel.
    """

    width: int
    dropout: float = 0.0
    kernel: int = 3
    last: int = field(default=1, metadata=LATER)

    def __post_init__(self) -> None:
        odd = self.kernel > 0 and self.kernel % 2 and self.last > 0 and self.last % 2
        if self.width < 1 or not 0 <= self.dropout < 1 or not odd:
            raise SpaceError(
                f"head: {self!r} given; the width is at least 1, dropout in [0, 1) and both kernels are odd."
            )

    def build(self, layers: Layers, in_channels: int, num_classes: int, *, stride: int) -> nn.Module:
        parts: list[nn.Module] = [layers.conv_block(in_channels, self.width, kernel=self.kernel)]
        if self.dropout:
            parts.append(layers.dropout(self.dropout))
        return nn.Sequential(*parts, layers.conv(self.width, num_classes, kernel=self.last, bias=True))
