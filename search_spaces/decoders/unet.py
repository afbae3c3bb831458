"""Step by step back to the input's size, with a skip at every level.

Source: Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical image segmentation", Figure 1,
    arXiv:1505.04597.
Deviations: what a level computes is a cell; upsampling is a choice; convolutions are padded, so the result has the
    size of the finest features.
"""

from dataclasses import dataclass, field

from torch import Tensor, nn

from search_spaces.cell import Cell
from search_spaces.codec import LATER
from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
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
    """

    cell: Cell
    upsample: Upsample = "transposed"
    finest_skip: Skip | None = field(default=None, metadata=LATER)

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        """Every level but the deepest, finest first."""
        return Levels(levels.channels[:-1], levels.strides[:-1])

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        return refuse_jumps("unet", levels)

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _UNetModule(self, layers, levels, skip)


class _UNetModule(nn.Module):
    def __init__(self, choice: UNetDecoder, layers: Layers, levels: Levels, skip: Skip) -> None:
        super().__init__()
        self.ups = nn.ModuleList()
        self.skips = nn.ModuleList()
        self.cells = nn.ModuleList()
        coarse = levels.channels[-1]
        steps = list(zip(levels.channels[:-1], factors(levels), strict=True))
        for level in range(len(steps) - 1, -1, -1):
            fine, factor = steps[level]
            if level == 0 and choice.finest_skip is not None:
                skip = choice.finest_skip
            up, channels = upsampler(layers, choice.upsample, coarse=coarse, fine=fine, factor=factor)
            self.ups.append(up)
            self.skips.append(skip.build(layers, fine=fine, coarse=channels))
            self.cells.append(choice.cell.build(layers, skip.out_channels(fine, channels), fine))
            coarse = fine

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> (N, C_i, *S_i) of each level but the deepest, both finest first."""
        x = features.maps[-1]
        results = []
        levels = zip(reversed(features.maps[:-1]), self.ups, self.skips, self.cells, strict=True)
        for fine, up, skip, cell in levels:
            x = cell(skip(fine, up(x)))
            results.append(x)
        return results[::-1]
