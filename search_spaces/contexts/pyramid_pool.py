"""Pyramid pooling.

Source: Zhao et al. 2017, "Pyramid scene parsing network", section 3.2, Figure 3, arXiv:1612.01105.
Deviations: the branch of one cell normalises a batch of one image by the running statistics (``PooledBatchNorm``); maps
    are interpolated with corners not aligned.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from search_spaces.codec import LATER
from search_spaces.context import Context
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, Norm, resize
from search_spaces.pooling import grid_mean, pooled_block
from search_spaces.register import entry


@entry("pyramid_pool")
@dataclass(frozen=True, slots=True)
class PyramidPool(Context):
    """Means over grids, each reduced by a pointwise convolution and interpolated, beside the features themselves.

    Attributes:
        width: Channels of each branch; the paper takes the features' own divided by the number of branches.
        grids: Cells a dimension of each branch.
        image_norm: Whether the branch of one cell is normalised; without its norm it has a bias.
    """

    width: int
    grids: tuple[int, ...] = (1, 2, 3, 6)  # of the paper
    image_norm: bool = field(default=True, metadata=LATER)

    def __post_init__(self) -> None:
        if self.width < 1 or not self.grids or min(self.grids) < 1 or len(set(self.grids)) != len(self.grids):
            raise SpaceError(
                f"pyramid_pool: {self!r} given; a width from 1 and different grids from 1 are allowed."
            )

    def canonical(self) -> "PyramidPool":
        """Grids in ascending order; a branch that is not there is as usual."""
        image_norm = self.image_norm or 1 not in self.grids
        return replace(self, grids=tuple(sorted(self.grids)), image_norm=image_norm)

    def in_network(self, norm: Norm) -> "PyramidPool":
        """A branch of one value a channel is normalised by batches or not at all (``pooled_block``)."""
        return self if norm == "batch" else replace(self, image_norm=True)

    def out_channels(self, in_channels: int) -> int:
        return in_channels + self.width * len(self.grids)

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _PyramidPoolModule(self.canonical(), layers, in_channels)


class _PyramidPoolModule(nn.Module):
    def __init__(self, choice: PyramidPool, layers: Layers, in_channels: int) -> None:
        super().__init__()
        self.grids = choice.grids
        self.branches = nn.ModuleList(_branch(choice, layers, in_channels, cells) for cells in self.grids)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, in_channels + branches * width, *S)."""
        size = tuple(x.shape[2:])
        results = [x]
        for cells, branch in zip(self.grids, self.branches, strict=True):
            results.append(resize(branch(grid_mean(x, [cells] * len(size))), size))
        return torch.cat(results, dim=1)


def _branch(choice: PyramidPool, layers: Layers, in_channels: int, cells: int) -> nn.Module:
    if cells > 1:
        return layers.conv_block(in_channels, choice.width, kernel=1)
    if choice.image_norm:
        return pooled_block(layers, in_channels, choice.width)
    conv = layers.conv(in_channels, choice.width, kernel=1, bias=True)
    return nn.Sequential(conv, layers.activate(choice.width))
