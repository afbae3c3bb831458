"""A path through a trellis of strides, one cell a layer.

Source: Liu et al. 2019, "Auto-DeepLab: hierarchical neural architecture search for semantic image segmentation", sections 3.1,
    3.2 and 5.1, Figures 1 and 3, arXiv:1901.02985; the decoded cell and path from its code (``hnasnet``).
Deviations: a cell resizes what it takes before its first convolution, where the code strides inside the operations on the way
    down; maps never get smaller than two pixels; no path of a cell is dropped in training.
"""

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from search_spaces.branches import tidy_order
from search_spaces.codec import canonical, json_text
from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, resize
from search_spaces.operation import Operation
from search_spaces.register import entry

INPUTS = 2  # of a cell: the layer before, and the one before that
LEVELS = 4  # strides 4, 8, 16, 32
FINEST = 4


@dataclass(frozen=True, slots=True)
class Taken:
    """One of the two inputs of a block.

    Attributes:
        operation: What is done with it.
        source: 0 the layer before, 1 the one before that, 2 + i block i, earlier ones only.
    """

    operation: Operation
    source: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """The sum of two operations."""

    first: Taken
    second: Taken

    def canonical(self) -> "Block":
        """The two in alphabetical order."""
        return self if json_text(self.first) <= json_text(self.second) else Block(self.second, self.first)


BEST_PATH = (0, 0, 0, 1, 2, 1, 2, 2, 3, 3, 2, 1)  # of the paper


@entry("trellis")
@dataclass(frozen=True, slots=True)
class Trellis(Encoder):
    """Stem to stride 4, then one cell a layer at the stride of the path; levels are stem, stride 4, and the end.

    The map of stride 4 is that of the last layer before the path first leaves it, or the stem's.

    Attributes:
        width: Channels of each block at stride 4; doubled each time the size halves; a cell returns all its blocks.
        blocks: The cell.
        path: Of each layer: 0 stride 4, 1 stride 8, 2 stride 16, 3 stride 32; from layer to layer by one at most. By default
            the best one of the paper.
        stem: Channels of the map at stride 2; at stride 4 it has twice as many.
    """

    width: int
    blocks: tuple[Block, ...]
    path: tuple[int, ...] = BEST_PATH
    stem: int = 64

    def __post_init__(self) -> None:
        if self.width < 1 or self.stem < 1 or not self.blocks or not self.path:
            raise SpaceError(
                f"trellis: width {self.width}, stem {self.stem}, {len(self.blocks)} blocks, {len(self.path)} layers given; "
                "at least 1 of each is needed."
            )
        for place, (before, level) in enumerate(zip((0, *self.path), self.path, strict=False)):
            if not max(before - 1, 0) <= level <= min(before + 1, LEVELS - 1):
                raise SpaceError(
                    f"trellis.path.{place}: {level} after {before} given; steps of one at most, from 0 to {LEVELS - 1}."
                )
        for place, block in enumerate(self.blocks):
            for taken in (block.first, block.second):
                if not 0 <= taken.source < INPUTS + place:
                    raise SpaceError(
                        f"trellis.blocks.{place}: source {taken.source} given; 0 to {INPUTS + place - 1} are allowed."
                    )

    def canonical(self) -> "Trellis":
        """Blocks in the one order that does not depend on how they were numbered."""
        pairs = [(block.first, block.second) for block in self.blocks]
        sources = [[(json_text(t.operation), t.source) for t in pair] for pair in pairs]
        order = tidy_order([""] * len(pairs), sources, INPUTS)
        new = {place: place for place in range(INPUTS)}
        new |= {INPUTS + old: INPUTS + place for place, old in enumerate(order)}
        blocks = tuple(
            Block(*(replace(t, source=new[t.source]) for t in pairs[old])).canonical() for old in order
        )
        return self if blocks == self.blocks else replace(self, blocks=blocks)

    def channels(self, level: int) -> int:
        """Channels of a layer at a level of the path."""
        return len(self.blocks) * self.width << level

    def early(self) -> int:
        """Layers before the path first leaves stride 4."""
        return next((place for place, level in enumerate(self.path) if level), len(self.path))

    def used(self) -> set[int]:
        """Layers that lead to the end or to the map of stride 4: a cell may take only one of the two before it."""
        sources = {taken.source for block in self.blocks for taken in (block.first, block.second)}
        wanted = {len(self.path) - 1, self.early() - 1}
        for place in range(len(self.path) - 1, -1, -1):
            if place in wanted:
                wanted |= {place - 1 - source for source in sources if source < INPUTS}
        return {place for place in wanted if place >= 0}

    def levels(self) -> Levels:
        low = self.channels(0) if self.early() else 2 * self.stem
        last = self.path[-1]
        return Levels((self.stem, low, self.channels(last)), (2, FINEST, FINEST * 2**last))

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _TrellisModule(canonical(self), layers, in_channels)


class _TrellisModule(nn.Module):
    def __init__(self, choice: Trellis, layers: Layers, in_channels: int) -> None:
        super().__init__()
        self.path, self.early = choice.path, choice.early()
        stem = choice.stem
        self.first = nn.Sequential(
            layers.conv_block(in_channels, stem, kernel=3, stride=2),
            layers.conv(stem, stem, kernel=3, bias=layers.bias),
            layers.normalise(stem),
        )
        self.second = nn.Sequential(
            layers.activate(stem, inplace=False),
            layers.conv(stem, 2 * stem, kernel=3, stride=2, bias=layers.bias),
            layers.normalise(2 * stem),
        )
        before = [stem, 2 * stem]
        used = choice.used()
        self.cells = nn.ModuleList()
        for place, level in enumerate(choice.path):
            cell: nn.Module = nn.Identity()  # for a layer that nothing takes
            if place in used:
                cell = _CellModule(choice.blocks, layers, before[-1], before[-2], choice.width * 2**level)
            self.cells.append(cell)
            before.append(choice.channels(level))
        self.last = layers.activate(before[-1], inplace=False)  # it may be the map of stride 4, too

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> stem, stride 4, the end of the path."""
        size = tuple(int(length) for length in x.shape[2:])
        outputs = [self.first(x)]
        outputs.append(self.second(outputs[0]))
        for level, cell in zip(self.path, self.cells, strict=True):
            stride = FINEST * 2**level
            target = tuple(max(-(-length // stride), 2) for length in size)
            taken = isinstance(cell, _CellModule)
            outputs.append(cell(outputs[-1], outputs[-2], target) if taken else outputs[-1])
        return Features([outputs[0], outputs[1 + self.early], self.last(outputs[-1])], [])


class _CellModule(nn.Module):
    def __init__(
        self, blocks: tuple[Block, ...], layers: Layers, before: int, before_that: int, width: int
    ) -> None:
        super().__init__()
        pairs = [(block.first, block.second) for block in blocks]
        self.sources = [[taken.source for taken in pair] for pair in pairs]
        used = {source for pair in self.sources for source in pair}
        self.reduce = nn.ModuleList(
            _reduced(layers, channels, width) if place in used and channels != keeps else nn.Identity()
            for place, (channels, keeps) in enumerate(((before, 0), (before_that, width)))
        )  # the code reduces the layer before always, the one before that only to another width
        self.used = [place in used for place in range(INPUTS)]
        self.operations = nn.ModuleList(
            nn.ModuleList(taken.operation.build(layers, width, width) for taken in pair) for pair in pairs
        )

    def forward(self, before: Tensor, before_that: Tensor, size: tuple[int, ...]) -> Tensor:
        """Both layers before, of any size -> (N, blocks * width, *size)."""
        states = [
            reduce(resize(x, size)) if used else x
            for reduce, x, used in zip(self.reduce, (before, before_that), self.used, strict=True)
        ]
        for (one, other), operations in zip(self.sources, self.operations, strict=True):
            first, second = cast(nn.ModuleList, operations)
            states.append(first(states[one]) + second(states[other]))
        return torch.cat(states[INPUTS:], dim=1)


def _reduced(layers: Layers, in_channels: int, width: int) -> nn.Sequential:
    conv = layers.conv(in_channels, width, kernel=1, bias=layers.bias)
    return nn.Sequential(layers.activate(in_channels, inplace=False), conv, layers.normalise(width))
