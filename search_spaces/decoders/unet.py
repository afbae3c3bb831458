"""Step by step back to the input's size, with a skip at every level.

Source: Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical image segmentation", Figure 1,
    arXiv:1505.04597.
Deviations: what a level computes is a cell; upsampling is a choice; convolutions are padded, so the result has the
    size of the finest features.
"""

from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from search_spaces.cell import Cell
from search_spaces.codec import LATER
from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.skip import Skip
from search_spaces.upsampling import Upsample, factors, refuse_jumps, upsampler


@entry("unet")
@dataclass(frozen=True, slots=True)
class UNetDecoder(Decoder):
    """One upsampling, one skip and one cell a level.

    Attributes:
        cell: What each level computes after the skip, with weights of its own.
        upsample: How the size is doubled.
        finest_skip: The skip of the finest level, where it is another than the architecture's.
        widths: Channels of each level, finest first; empty takes the encoder's. Where there are more of them than levels
            to climb, the first ones are further doublings without a skip.
    """

    cell: Cell
    upsample: Upsample = "transposed"
    finest_skip: Skip | None = field(default=None, metadata=LATER)
    widths: tuple[int, ...] = field(default=(), metadata=LATER)

    def __post_init__(self) -> None:
        if self.widths and min(self.widths) < 1:
            raise SpaceError(f"unet.widths: {self.widths} given; widths from 1 are allowed.")

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        """Every level but the deepest, finest first."""
        channels = self.widths or levels.channels[:-1]
        further = range(len(channels) - len(levels.channels) + 1, 0, -1)
        strides = (*(levels.strides[0] // 2**step for step in further), *levels.strides[:-1])
        return Levels(channels, strides)

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        further = len(self.widths) - len(levels.channels) + 1
        if self.widths and (further < 0 or levels.strides[0] % 2**further):
            return (
                f"unet has {len(self.widths)} widths for levels of strides {levels.strides}; give one for each but the "
                "deepest, and more only where the finest stride can be halved."
            )
        return refuse_jumps("unet", levels)

    def in_network(self, levels: Levels, skip: Skip, *, bias: bool) -> "UNetDecoder":
        widths = () if self.widths == levels.channels[:-1] else self.widths
        return replace(
            self, widths=widths, finest_skip=None if self.finest_skip == skip else self.finest_skip
        )

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _UNetModule(self, layers, levels, skip)


class _UNetModule(nn.Module):
    def __init__(self, choice: UNetDecoder, layers: Layers, levels: Levels, skip: Skip) -> None:
        super().__init__()
        self.ups = nn.ModuleList()
        self.skips = nn.ModuleList()
        self.cells = nn.ModuleList()
        coarse = levels.channels[-1]
        channels, steps = choice.out_levels(levels, num_classes=2).channels, factors(levels)
        further = len(channels) - len(steps)
        for place in range(len(channels) - 1, -1, -1):
            width, level = channels[place], place - further
            factor = steps[level] if level >= 0 else 2
            up, taken = upsampler(layers, choice.upsample, coarse=coarse, fine=width, factor=factor)
            self.ups.append(up)
            if level >= 0:
                way = choice.finest_skip if level == 0 and choice.finest_skip is not None else skip
                self.skips.append(way.build(layers, fine=levels.channels[level], coarse=taken))
                taken = way.out_channels(levels.channels[level], taken)
            self.cells.append(choice.cell.build(layers, taken, width))
            coarse = width

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> (N, C_i, *S_i) of each level but the deepest, both finest first."""
        x = features.maps[-1]
        results = []
        for place, (up, cell) in enumerate(zip(self.ups, self.cells, strict=True)):
            x = up(x)
            if place < len(self.skips):
                x = self.skips[place](features.maps[-2 - place], x)
            x = cell(x)
            results.append(x)
        return results[::-1]
