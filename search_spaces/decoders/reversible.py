"""Reversible blocks with interpolation between them.

Source: Brügger et al. 2019, "A partially reversible U-Net for memory-efficient volumetric image segmentation", Figure 1,
    arXiv:1906.06148.
Deviations: the skip is a choice among those that keep the channels (the authors add).
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.decoder import Decoder, refuse_wider
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, Resize
from search_spaces.register import entry
from search_spaces.reversible import Lead, ReversibleBlocks
from search_spaces.skip import Skip
from search_spaces.upsampling import factors, refuse_jumps


@entry("reversible")
@dataclass(frozen=True, slots=True)
class ReversibleDecoder(Decoder):
    """Reversible blocks at every level; to the next finer one a pointwise convolution, interpolation and a skip.

    Attributes:
        depth: Reversible blocks of each level.
    """

    depth: int = 1

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise SpaceError(f"reversible: depth {self.depth} given; at least 1 is allowed.")

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        return Levels(levels.channels[:-1], levels.strides[:-1])

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        if any(channels % 2 for channels in levels.channels):
            return f"reversible halves the channels, {levels.channels} given; choose even widths."
        return refuse_wider("reversible", skip) or refuse_jumps("reversible", levels)

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _ReversibleModule(self, layers, levels, skip)


class _ReversibleModule(nn.Module):
    def __init__(self, choice: ReversibleDecoder, layers: Layers, levels: Levels, skip: Skip) -> None:
        super().__init__()
        self.ups = nn.ModuleList()
        self.skips = nn.ModuleList()
        self.stages = nn.ModuleList()
        coarse = levels.channels[-1]
        self.deepest = ReversibleBlocks(layers, coarse, depth=choice.depth)
        for fine, factor in zip(reversed(levels.channels[:-1]), reversed(factors(levels)), strict=True):
            self.ups.append(nn.Sequential(Lead(layers, coarse, fine), Resize(factor)))
            self.skips.append(skip.build(layers, fine=fine, coarse=fine))
            self.stages.append(ReversibleBlocks(layers, fine, depth=choice.depth))
            coarse = fine

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> (N, C_i, *S_i) of each level but the deepest, finest first."""
        x = self.deepest(features.maps[-1])
        results = []
        levels = zip(reversed(features.maps[:-1]), self.ups, self.skips, self.stages, strict=True)
        for fine, up, skip, stage in levels:
            x = stage(skip(fine, up(x)))
            results.append(x)
        return results[::-1]
