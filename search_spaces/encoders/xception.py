"""Aligned Xception, dilated where the output stride asks for it.

Source: Chen et al. 2018, "Encoder-decoder with atrous separable convolution for semantic image segmentation", section 3.2
    and Figure 4, arXiv:1802.02611; block lists of 41, 65 and 71 layers from its code; Chollet 2017, "Xception: deep learning
    with depthwise separable convolutions", arXiv:1610.02357.
Deviations: none.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry

MIDDLE = {41: 8, 65: 16, 71: 16}  # blocks of the middle flow
LONGER_ENTRY = 71  # depth at which the entry flow has a block more before each of its two last strides


@entry("xception")
@dataclass(frozen=True, slots=True)
class Xception(Encoder):
    """Blocks of three separable convolutions with a shortcut; levels are what a strided convolution takes.

    Attributes:
        depth: Layers of the published network.
        width: Channels of the first convolution, 32 in the paper; all others are multiples of it.
        output_stride: That of the last map; blocks that would exceed it are dilated instead.
    """

    depth: Literal[41, 65, 71] = 65
    width: int = 32
    output_stride: Literal[8, 16, 32] = 16

    def __post_init__(self) -> None:
        if self.width < 4 or self.width % 4:
            raise SpaceError(f"xception: width {self.width} given; a positive multiple of 4 is allowed.")

    def levels(self) -> Levels:
        channels = (4 * self.width, 8 * self.width, self.middle_width(), 32 * self.width)
        kept = [(c, s) for c, s in zip(channels, (2, 4, 8, 16), strict=True) if s < self.output_stride]
        last = (64 * self.width, self.output_stride)
        return Levels(tuple(c for c, _ in (*kept, last)), tuple(s for _, s in (*kept, last)))

    def middle_width(self) -> int:
        """Channels of the middle flow, 728 in the paper."""
        return self.width * 91 // 4

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _XceptionModule(self, layers, in_channels)


class _XceptionModule(nn.Module):
    def __init__(self, choice: Xception, layers: Layers, in_channels: int) -> None:
        super().__init__()
        width, middle = choice.width, choice.middle_width()
        longer = choice.depth == LONGER_ENTRY
        self.stem = nn.Sequential(
            layers.conv_block(in_channels, width, kernel=3, stride=2),
            layers.conv_block(width, 2 * width, kernel=3),
        )
        plan = [
            ((4 * width,) * 3, True)
        ]  # channels of three separable convolutions, whether the last is strided
        for channels in (8 * width, middle):
            plan += [((channels,) * 3, False)] * longer + [((channels,) * 3, True)]
        plan += [((middle,) * 3, False)] * MIDDLE[choice.depth]
        plan.append(((middle, 32 * width, 32 * width), True))
        self.blocks = nn.ModuleList()
        before, stride, rate = 2 * width, 2, 1
        for widths, strided in plan:
            halves = strided and stride < choice.output_stride
            block = _Block(layers, before, widths, stride=2 if halves else 1, rate=rate)
            self.blocks.append(block)
            before = widths[-1]
            stride, rate = stride * 2 if halves else stride, rate * 2 if strided and not halves else rate
        parts: list[nn.Module] = []
        for channels in (48 * width, 48 * width, 64 * width):
            parts.append(layers.conv_block(before, before, kernel=3, rate=rate, groups=before))
            parts.append(layers.conv_block(before, channels, kernel=1))
            before = channels
        self.exit = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> maps as ``Xception.levels`` says, finest first."""
        x = self.stem(x)
        maps = []
        for block in self.blocks:
            fine, x = block(x)
            if tuple(fine.shape[2:]) != tuple(x.shape[2:]):
                maps.append(fine)
        return Features([*maps, self.exit(x)], [])


class _Block(nn.Module):
    """Three times activation and separable convolution; the last is strided. Beside it a shortcut."""

    def __init__(
        self, layers: Layers, in_channels: int, channels: tuple[int, ...], *, stride: int, rate: int
    ) -> None:
        super().__init__()
        widths = [in_channels, *channels]
        steps = (1, 1, stride)
        parts = []
        for before, after, step in zip(widths, widths[1:], steps, strict=False):
            parts.append(_separable(layers, before, after, stride=step, rate=rate))
        self.body = nn.ModuleList(parts)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != channels[-1]:
            conv = layers.conv(in_channels, channels[-1], kernel=1, stride=stride, bias=layers.bias)
            self.shortcut = nn.Sequential(conv, layers.normalise(channels[-1]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the last separable convolution takes, and the result."""
        first, second, last = self.body
        fine = second(first(x))
        return fine, last(fine) + self.shortcut(x)


def _separable(
    layers: Layers, in_channels: int, out_channels: int, *, stride: int, rate: int
) -> nn.Sequential:
    depthwise = layers.conv(
        in_channels, in_channels, kernel=3, rate=rate, stride=stride, groups=in_channels, bias=layers.bias
    )
    pointwise = layers.conv(in_channels, out_channels, kernel=1, bias=layers.bias)
    return nn.Sequential(
        layers.activate(in_channels, inplace=False),
        depthwise,
        layers.normalise(in_channels),
        pointwise,
        layers.normalise(out_channels),
    )
