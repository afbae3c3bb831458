"""Dense prediction cell.

Source: Chen et al. 2018, "Searching for efficient multi-scale architectures for dense image prediction", sections 3.2 and
    4.3, arXiv:1809.04184.
Deviations: pooling is the mean over the cells of a grid instead of a sliding mean of a cell's size; in three dimensions the
    depth has the rate and the grid of the height; one value a channel is normalised as ``pooled_block`` says.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from search_spaces.branches import tidy_order
from search_spaces.codec import json_text
from search_spaces.context import Context
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, resize
from search_spaces.pooling import grid_mean, pooled_block
from search_spaces.register import entry

DpcOperation = tuple[Literal["conv", "atrous", "pool"], int, int]
"""A pointwise convolution (1, 1), a separable 3-convolution with rates, or a mean over a grid: of height and width."""


@dataclass(frozen=True, slots=True)
class DpcBranch:
    """One branch of the cell.

    Attributes:
        operation: What it computes.
        source: 0 the features, i the i-th branch (from 1), earlier ones only.
    """

    operation: DpcOperation = ("conv", 1, 1)
    source: int = 0


BEST = (
    DpcBranch(("atrous", 1, 6), 0),
    DpcBranch(("atrous", 18, 15), 1),
    DpcBranch(("atrous", 6, 3), 2),
    DpcBranch(("atrous", 1, 1), 1),
    DpcBranch(("atrous", 6, 21), 1),
)  # Figure 5; dense_prediction_cell_branch5_top1_cityscapes.json of its code


@entry("dpc")
@dataclass(frozen=True, slots=True)
class Dpc(Context):
    """Branches that take from the features or from each other, joined and projected.

    Attributes:
        width: Channels of each branch and of the result; 256 in the paper.
        branches: The cell; by default the best one of the paper.
        multiplier: Of all rates; 1 at output stride 16, 2 at 8.
        dropout: Share of the joined channels that is dropped in training.
    """

    width: int
    branches: tuple[DpcBranch, ...] = field(default=BEST)
    multiplier: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.width < 1 or self.multiplier < 1 or not 0 <= self.dropout < 1 or not self.branches:
            raise SpaceError(
                f"dpc: width {self.width}, {len(self.branches)} branches, multiplier {self.multiplier}, dropout "
                f"{self.dropout} given; at least 1 of the first three, and a share in [0, 1)."
            )
        for place, branch in enumerate(self.branches):
            kind, *sizes = branch.operation
            if not 0 <= branch.source <= place or min(sizes) < 1 or (kind == "conv" and sizes != [1, 1]):
                raise SpaceError(
                    f"dpc.branches.{place}: {branch.operation} of source {branch.source} given; sources 0 to {place} are "
                    "allowed, sizes from 1, and for conv only 1, 1."
                )

    def canonical(self) -> "Dpc":
        """Branches in the one order that does not depend on how they were numbered."""
        labels = [json_text(branch.operation) for branch in self.branches]
        order = tidy_order(labels, [[("", branch.source)] for branch in self.branches], inputs=1)
        new = {0: 0} | {old + 1: place for place, old in enumerate(order, start=1)}
        branches = tuple(replace(self.branches[old], source=new[self.branches[old].source]) for old in order)
        return self if branches == self.branches else replace(self, branches=branches)

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _DpcModule(self.canonical(), layers, in_channels)


class _DpcModule(nn.Module):
    def __init__(self, choice: Dpc, layers: Layers, in_channels: int) -> None:
        super().__init__()
        self.sources = [branch.source for branch in choice.branches]
        self.branches = nn.ModuleList()
        for branch in choice.branches:
            before = choice.width if branch.source else in_channels
            self.branches.append(_branch(branch.operation, layers, before, choice))
        self.dropout = layers.dropout(choice.dropout) if choice.dropout else nn.Identity()
        self.project = layers.conv_block(choice.width * len(choice.branches), choice.width, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, width, *S)."""
        states = [x]
        for source, branch in zip(self.sources, self.branches, strict=True):
            states.append(branch(states[source]))
        joined: Tensor = self.project(self.dropout(torch.cat(states[1:], dim=1)))
        return joined


def _branch(operation: DpcOperation, layers: Layers, before: int, choice: Dpc) -> nn.Module:
    kind, high, wide = operation
    if kind == "pool":
        return _PoolModule(layers, before, choice.width, _of_all(layers, high, wide))
    if kind == "conv":
        return layers.conv_block(before, choice.width, kernel=1)
    rates = _of_all(layers, high * choice.multiplier, wide * choice.multiplier)
    depthwise = layers.conv_block(before, before, kernel=3, rate=rates, groups=before)
    return nn.Sequential(depthwise, layers.conv_block(before, choice.width, kernel=1))


def _of_all(layers: Layers, high: int, wide: int) -> tuple[int, ...]:
    return (high,) * (layers.ndim - 1) + (wide,)


class _PoolModule(nn.Module):
    def __init__(self, layers: Layers, in_channels: int, width: int, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.grid = grid
        if max(grid) == 1:
            self.conv = pooled_block(layers, in_channels, width)
        else:
            self.conv = layers.conv_block(in_channels, width, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, width, *S)."""
        return resize(self.conv(grid_mean(x, self.grid)), tuple(x.shape[2:]))
