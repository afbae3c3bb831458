"""Shallow decoders stacked on one another, each going up and the next one down again.

Source: Fu et al. 2019, "Stacked deconvolutional network for semantic segmentation", section III, Figures 2 and 3,
    arXiv:1708.04943.
Deviations: every map has the same width and is made by a cell, where the paper has dense blocks that grow and are
    compressed; upsampling by transposed 2-convolutions.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from search_spaces.cell import Cell
from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.skip import Skip
from search_spaces.upsampling import upsampler


@entry("stacked")
@dataclass(frozen=True, slots=True)
class StackedDecoder(Decoder):
    """Units of some doublings up; between two units as many halvings down, which take in the unit before.

    Its maps are those on the way up of every unit, the last unit's finest first, so that auxiliary heads give the
    hierarchical supervision of the paper.

    Attributes:
        cell: What every map is made by, with weights of its own.
        width: Channels of every map.
        units: How many decoders are stacked.
        doublings: How often each doubles the size; fewer where the encoder has fewer strides.
    """

    cell: Cell
    width: int
    units: int = 2
    doublings: int = 2

    def __post_init__(self) -> None:
        if min(self.width, self.units, self.doublings) < 1:
            raise SpaceError(f"stacked: {self!r} given; width, units and doublings are at least 1.")

    def places(self, levels: Levels) -> tuple[int, ...]:
        """Levels between which units go: the deepest of each stride, finest first."""
        deepest = {stride: place for place, stride in enumerate(levels.strides)}
        return tuple(deepest.values())[-1 - self.doublings :]

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        strides = tuple(levels.strides[place] for place in self.places(levels)[:-1])
        return Levels((self.width,) * (len(strides) * self.units), strides * self.units)

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        strides = [levels.strides[place] for place in self.places(levels)]
        if len(strides) < 2:
            return f"stacked goes up and down between strides, {levels.strides} given; choose an encoder with more."
        if any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
            return f"stacked doubles the size from level to level, strides {levels.strides} given; choose others."
        return None

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _StackedModule(self, layers, levels, skip)


class _StackedModule(nn.Module):
    def __init__(self, choice: StackedDecoder, layers: Layers, levels: Levels, skip: Skip) -> None:
        super().__init__()
        self.places = choice.places(levels)
        channels = [*(levels.channels[place] for place in self.places[:-1]), choice.width]
        self.match = layers.projection(levels.channels[-1], choice.width)
        self.downs = nn.ModuleList()  # of each unit but the first
        self.ups = nn.ModuleList()
        for unit in range(choice.units):
            if unit:
                self.downs.append(_Down(choice, layers, steps=len(channels) - 1))
                channels = [choice.width] * len(channels)
            self.ups.append(_Up(choice, layers, skip, channels))

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> (N, width, *S_i) of each unit's way up, the last unit's finest first."""
        maps = [features.maps[place] for place in self.places]
        maps[-1] = self.match(maps[-1])
        results: list[Tensor] = []
        for unit, up in enumerate(self.ups):
            if unit:
                maps = self.downs[unit - 1](maps)
            maps = [*up(maps), maps[-1]]
            results = [*maps[:-1], *results]
        return results


class _Up(nn.Module):
    """From the coarsest map to the finest."""

    def __init__(self, choice: StackedDecoder, layers: Layers, skip: Skip, channels: list[int]) -> None:
        super().__init__()
        self.ups, self.skips, self.cells = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        coarse, width = channels[-1], choice.width
        for fine in reversed(channels[:-1]):
            self.ups.append(upsampler(layers, "transposed", coarse=coarse, fine=width, factor=2)[0])
            self.skips.append(skip.build(layers, fine=fine, coarse=width))
            self.cells.append(choice.cell.build(layers, skip.out_channels(fine, width), width))
            coarse = width

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps of a unit -> those on its way up, both finest first."""
        x = maps[-1]
        results = []
        for fine, up, skip, cell in zip(reversed(maps[:-1]), self.ups, self.skips, self.cells, strict=True):
            x = cell(skip(fine, up(x)))
            results.append(x)
        return results[::-1]


class _Down(nn.Module):
    """From the finest map to the coarsest; each step takes in the map of that size of the unit before."""

    def __init__(self, choice: StackedDecoder, layers: Layers, *, steps: int) -> None:
        super().__init__()
        self.pool = layers.pool("max", 3, stride=2)
        self.cells = nn.ModuleList(
            choice.cell.build(layers, 2 * choice.width, choice.width) for _ in range(steps)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps of the unit before -> maps of this unit, both finest first."""
        results = maps[:1]
        for before, cell in zip(maps[1:], self.cells, strict=True):
            results.append(cell(torch.cat([before, self.pool(results[-1])], dim=1)))
        return results
