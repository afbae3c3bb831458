"""Dense blocks with transitions up between them.

Source: Jégou et al. 2017, "The one hundred layers tiramisu: fully convolutional DenseNets for semantic segmentation",
    Figure 1, section 3.2, arXiv:1611.09326.
Deviations: transposed convolutions are padded to exactly twice the size instead of cropped to it.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.decoder import Decoder
from search_spaces.dense_block import DenseBlock
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.skip import Skip
from search_spaces.upsampling import factors, refuse_jumps


@entry("dense")
@dataclass(frozen=True, slots=True)
class DenseDecoder(Decoder):
    """Only what a block made is upsampled; the finest one hands over what went in, too.

    Attributes:
        growth: Channels that each layer adds.
        depths: Layers of each block, finest first; the last number counts for all further levels.
        dropout: Share of the channels that is dropped in training after each convolution of the blocks.
    """

    growth: int = 4
    depths: tuple[int, ...] = (2,)
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.growth < 1 or not self.depths or min(self.depths) < 1 or not 0 <= self.dropout < 1:
            raise SpaceError(
                f"dense: {self!r} given; growth and depths from 1 and dropout in [0, 1) are allowed."
            )

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        made = [*(self.made(level) for level in range(len(levels.channels) - 1)), levels.channels[-1]]
        return Levels((levels.channels[0] + made[1] + made[0], *made[1:-1]), levels.strides[:-1])

    def made(self, level: int) -> int:
        """Channels that the block of a level makes."""
        return self.growth * self.depths[min(level, len(self.depths) - 1)]

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        if skip.out_channels(5, 3) != 8:
            return (
                f"dense needs a skip that keeps the channels of both sides, {skip.kind} given; choose concat."
            )
        return refuse_jumps("dense", levels)

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _DenseModule(self, layers, levels, skip)


class _DenseModule(nn.Module):
    def __init__(self, choice: DenseDecoder, layers: Layers, levels: Levels, skip: Skip) -> None:
        super().__init__()
        self.ups = nn.ModuleList()
        self.skips = nn.ModuleList()
        self.blocks = nn.ModuleList()
        coarse = levels.channels[-1]
        steps = factors(levels)
        for level in range(len(steps) - 1, -1, -1):
            fine, made = levels.channels[level], choice.made(level)
            up = layers.transposed(coarse, coarse, kernel=3) if steps[level] == 2 else nn.Identity()
            self.ups.append(up)
            self.skips.append(skip.build(layers, fine=fine, coarse=coarse))
            self.blocks.append(
                DenseBlock(
                    layers,
                    fine + coarse,
                    depth=made // choice.growth,
                    growth=choice.growth,
                    dropout=choice.dropout,
                    keep=level == 0,
                )
            )
            coarse = made

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> (N, C_i, *S_i) of each level but the deepest, finest first."""
        x = features.maps[-1]
        results = []
        levels = zip(reversed(features.maps[:-1]), self.ups, self.skips, self.blocks, strict=True)
        for fine, up, skip, block in levels:
            x = block(skip(fine, up(x)))
            results.append(x)
        return results[::-1]
