"""Stages of convolutions with max-pooling between them.

Source: Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", Table 1,
    arXiv:1409.1556.
Deviations: without the fully connected layers; a stage may be max-pooling alone, as the end of SegNet's encoder is.
"""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from search_spaces.codec import LATER
from search_spaces.downsampling import halved
from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("plain")
@dataclass(frozen=True, slots=True)
class Plain(Encoder):
    """Convolutions of one kernel, stage by stage.

    Attributes:
        widths: Channels of each stage.
        depths: Convolutions of each stage; 0 leaves the max-pooling before it alone.
        kernel: Odd size of their kernels in pixels.
        hands_over: What the decoder gets of a stage: its convolutions' result (``convolved``), or that after another
            max-pooling (``pooled``), by which each level has twice the stride.
        strided: Whether the first convolution of each further stage halves the size, in place of a max-pooling.
    """

    widths: tuple[int, ...] = (8, 16, 32)
    depths: tuple[int, ...] = (2, 2, 2)
    kernel: int = 3
    hands_over: Literal["convolved", "pooled"] = "convolved"
    strided: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or len(self.depths) != len(self.widths) or min(self.widths) < 1:
            raise SpaceError(
                f"plain: widths {self.widths} and depths {self.depths} given; two or more widths from 1 and a depth for "
                "each are allowed."
            )
        if self.kernel < 1 or self.kernel % 2 == 0 or min(self.depths) < 0 or not self.depths[0]:
            raise SpaceError(
                f"plain: depths {self.depths} and kernel {self.kernel} given; depths from 0, the first from 1, and an "
                "odd kernel are allowed."
            )
        if self.strided and (self.hands_over == "pooled" or not all(self.depths)):
            raise SpaceError(
                f"plain: strided with hands_over {self.hands_over!r} and depths {self.depths} given; with strides there is no "
                "max-pooling, so 'convolved' and depths from 1 are needed."
            )
        for place, depth in enumerate(self.depths):
            if not depth and self.widths[place] != self.widths[place - 1]:
                raise SpaceError(
                    f"plain.widths.{place}: {self.widths[place]} given; a stage without convolutions keeps the "
                    f"{self.widths[place - 1]} channels before it."
                )

    def levels(self) -> Levels:
        first = 1 if self.hands_over == "convolved" else 2
        return Levels(self.widths, tuple(first * 2**stage for stage in range(len(self.widths))))

    def pools_max(self) -> bool:
        return self.hands_over == "convolved" and not self.strided

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _PlainModule(self, layers, in_channels)


class _PlainModule(nn.Module):
    def __init__(self, choice: Plain, layers: Layers, in_channels: int) -> None:
        super().__init__()
        self.pooled = choice.hands_over == "pooled"
        self.pool = nn.Identity() if choice.strided else layers.max_pool()
        self.stages = nn.ModuleList()
        before = in_channels
        for place, (width, depth) in enumerate(zip(choice.widths, choice.depths, strict=True)):
            stage = nn.Sequential()
            for conv in range(depth):
                stride = 2 if choice.strided and place and not conv else 1
                stage.append(layers.conv_block(before, width, kernel=choice.kernel, stride=stride))
                before = width
            self.stages.append(stage)

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> one (N, C_i, *S_i) a stage, finest first."""
        features = Features([], [])
        for place, stage in enumerate(self.stages):
            if self.pooled:
                x = self.pool(stage(x))
            else:
                x = stage(halved(self.pool, x, features) if place else x)
            features.maps.append(x)
        return features
