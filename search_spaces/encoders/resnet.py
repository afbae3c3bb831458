"""Residual networks, dilated where the output stride asks for it.

Source: He et al. 2016, "Deep residual learning for image recognition", Table 1, arXiv:1512.03385; Chen et al. 2017,
    "Rethinking atrous convolution for semantic image segmentation", sections 3.1 and 3.2 (output stride, multi-grid),
    arXiv:1706.05587; Wang et al. 2018, "Understanding convolution for semantic segmentation", section 3.2 (hybrid
    dilation), arXiv:1702.08502; Zhao et al. 2017, "Pyramid scene parsing network", arXiv:1612.01105 (the deep stem of
    its code).
Deviations: without fully connected layer; both convolutions of a basic block are dilated.
"""

from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from typing import Literal

from torch import Tensor, nn

from search_spaces.codec import LATER
from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.residual import EXPANSION, ResidualBlock

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}  # Table 1
BASIC = 34  # up to this depth blocks are basic, beyond they are bottlenecks
Rates = tuple[tuple[int, ...], ...]


@entry("resnet")
@dataclass(frozen=True, slots=True)
class Resnet(Encoder):
    """Stem at stride 2, then stages of residual blocks from stride 4.

    Attributes:
        depth: Layers of the published network.
        width: Channels of the stem and inner channels of the first stage; each further stage has twice as many.
        output_stride: That of the last stage; stages that would exceed it are dilated instead.
        stem: ``conv7``, one 7-convolution, or ``deep``, three 3-convolutions, the last to twice the width.
        block_rates: Of the blocks of the third and of the fourth stage, repeated as often as there are blocks; empty takes
            what the output stride asks for. At output stride 16 ((1,), (2, 4, 8)) is the multi-grid (1, 2, 4); at 8
            ((1, 2, 5, 9), (5, 9, 17)) is hybrid dilation.
        stages: How many of the published four there are, from two.
    """

    depth: Literal[18, 34, 50, 101, 152] = 18
    width: int = 64
    output_stride: Literal[8, 16, 32] = 32
    stem: Literal["conv7", "deep"] = "conv7"
    block_rates: Rates = ()
    stages: int = field(default=4, metadata=LATER)

    def __post_init__(self) -> None:
        if self.stages not in (2, 3, 4) or (self.stages < 4 and self.block_rates):
            raise SpaceError(
                f"resnet: stages {self.stages} and block_rates {self.block_rates} given; 2 to 4 stages are allowed, and rates "
                "where there are four."
            )
        good = len(self.block_rates) in (0, 2) and all(
            rates and min(rates) >= 1 for rates in self.block_rates
        )
        if not good or self.width < 1:
            raise SpaceError(
                f"resnet: width {self.width} and block_rates {self.block_rates} given; a width from 1 is allowed, and "
                "rates from 1 for the third and for the fourth stage, or none at all."
            )

    def canonical(self) -> "Resnet":
        """Rates as short as they can be, none where they are what the output stride asks for; the stride that is reached."""
        if self.output_stride > 2 ** (self.stages + 1):
            return replace(self, output_stride=2 ** (self.stages + 1))
        if self._later_rates() == replace(self, block_rates=())._later_rates():
            return replace(self, block_rates=()) if self.block_rates else self
        return replace(self, block_rates=tuple(_period(rates) for rates in self._later_rates()))

    def levels(self) -> Levels:
        expansion = EXPANSION if self.depth > BASIC else 1
        first = self.width * (2 if self.stem == "deep" else 1)
        stages = tuple(self.width * expansion * 2**stage for stage in range(self.stages))
        strides = (2, 4, 8, min(16, self.output_stride), self.output_stride)
        return Levels((first, *stages), strides[: self.stages + 1])

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _ResnetModule(self, layers, in_channels)

    def _later_rates(self) -> Rates:
        """Of each block of the third and of the fourth stage."""
        counts = BLOCKS[self.depth][2:]
        if self.block_rates:
            pairs = zip(self.block_rates, counts, strict=True)
            return tuple(tuple(islice(cycle(rates), count)) for rates, count in pairs)
        found, before = [], 1
        for count, stride in zip(counts, (16, 32), strict=True):
            after = max(stride // self.output_stride, 1)
            found.append(
                (before, *[after] * (count - 1))
            )  # a first block still sees the grid of the stage before
            before = after
        return tuple(found)

    def stage_rates(self) -> Rates:
        """Of each block of each stage."""
        first = ((1,) * count for count in BLOCKS[self.depth][:2])
        return (*first, *self._later_rates())[: self.stages]


def _period(rates: tuple[int, ...]) -> tuple[int, ...]:
    """The shortest beginning whose repetition gives all of them."""
    lengths = range(1, len(rates) + 1)
    return next(rates[:n] for n in lengths if tuple(islice(cycle(rates[:n]), len(rates))) == rates)


class _ResnetModule(nn.Module):
    def __init__(self, choice: Resnet, layers: Layers, in_channels: int) -> None:
        super().__init__()
        levels = choice.levels()
        width = choice.width
        if choice.stem == "conv7":
            self.stem: nn.Module = layers.conv_block(in_channels, width, kernel=7, stride=2)
        else:
            self.stem = nn.Sequential(
                layers.conv_block(in_channels, width, kernel=3, stride=2),
                layers.conv_block(width, width, kernel=3),
                layers.conv_block(width, 2 * width, kernel=3),
            )
        self.pool = layers.pool("max", 3, stride=2)
        self.stages = nn.ModuleList()
        before = levels.channels[0]
        strides = (1, *(levels.strides[i] // levels.strides[i - 1] for i in range(2, choice.stages + 1)))
        for stage, rates in enumerate(choice.stage_rates()):
            blocks = []
            for block, rate in enumerate(rates):
                blocks.append(
                    ResidualBlock(
                        layers,
                        before,
                        width * 2**stage,
                        bottleneck=choice.depth > BASIC,
                        stride=strides[stage] if block == 0 else 1,
                        rate=rate,
                    )
                )
                before = levels.channels[stage + 1]
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> stem and stages, finest first."""
        x = self.stem(x)
        maps = [x]
        x = self.pool(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return Features(maps, [])
