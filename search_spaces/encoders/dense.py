"""Dense blocks with transitions down between them.

Source: Jégou et al. 2017, "The one hundred layers tiramisu: fully convolutional DenseNets for semantic segmentation",
    Tables 1 and 2, arXiv:1611.09326.
Deviations: none; the channels after the deepest block are 1072 + 16 in the network of 103 layers, as the authors' code
    has them and their Table 2 has not.
"""

from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor, nn

from search_spaces.dense_block import DenseBlock, before_conv
from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("dense")
@dataclass(frozen=True, slots=True)
class Dense(Encoder):
    """One dense block a level; of the deepest one only what it made is handed over.

    Attributes:
        stem: Channels of the convolution before the first block.
        growth: Channels that each layer adds.
        depths: Layers of each block.
        dropout: Share of the channels that is dropped in training after each convolution of blocks and transitions.
    """

    stem: int = 8
    growth: int = 4
    depths: tuple[int, ...] = (2, 2, 2)
    dropout: float = 0.2

    def __post_init__(self) -> None:
        least = min(self.stem, self.growth, *self.depths) if self.depths else 0
        if least < 1 or len(self.depths) < 2 or not 0 <= self.dropout < 1:
            raise SpaceError(
                f"dense: {self!r} given; stem, growth and depths from 1, two or more depths, and dropout in [0, 1) are "
                "allowed."
            )

    def levels(self) -> Levels:
        made = [self.growth * depth for depth in self.depths]
        channels = tuple(accumulate(made[:-1], initial=self.stem))[1:]
        return Levels((*channels, made[-1]), tuple(2**level for level in range(len(self.depths))))

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _DenseModule(self, layers, in_channels)


class _DenseModule(nn.Module):
    def __init__(self, choice: Dense, layers: Layers, in_channels: int) -> None:
        super().__init__()
        self.stem = layers.conv(in_channels, choice.stem, kernel=3, bias=layers.bias)
        self.blocks = nn.ModuleList()
        self.downs = nn.ModuleList()
        channels = choice.stem
        for level, depth in enumerate(choice.depths):
            last = level == len(choice.depths) - 1
            self.blocks.append(
                DenseBlock(
                    layers,
                    channels,
                    depth=depth,
                    growth=choice.growth,
                    dropout=choice.dropout,
                    keep=not last,
                )
            )
            channels += choice.growth * depth
            if not last:
                self.downs.append(_transition(layers, channels, choice.dropout))

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> one (N, C_i, *S_i) a block, finest first."""
        x = self.stem(x)
        maps = []
        for level, block in enumerate(self.blocks):
            x = block(self.downs[level - 1](x) if level else x)
            maps.append(x)
        return Features(maps, [])


def _transition(layers: Layers, channels: int, dropout: float) -> nn.Module:
    parts = before_conv(layers, channels)
    parts.append(layers.conv(channels, channels, kernel=1, bias=layers.bias))
    if dropout:
        parts.append(layers.dropout(dropout))
    return parts.append(layers.max_pool())
