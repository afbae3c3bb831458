"""Nested U-Nets of every depth that share their nodes.

Source: Zhou et al. 2018, "UNet++: a nested U-Net architecture for medical image segmentation", Eq. 1 and Figure 1,
    arXiv:1807.10165.
Deviations: what a node computes is a cell; the skip joins all earlier nodes of a level with the upsampled one (the
    paper concatenates).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.cell import Cell
from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.skip import Skip
from search_spaces.upsampling import Upsample, factors, refuse_jumps, upsampler


@entry("nested")
@dataclass(frozen=True, slots=True)
class NestedDecoder(Decoder):
    """Node (i, j) of level i takes in nodes (i, 0) to (i, j - 1) and the upsampled node (i + 1, j - 1).

    Its maps are the finest nodes, the last first, so that auxiliary heads give the deep supervision of the paper.

    Attributes:
        cell: What each node computes, with weights of its own.
        upsample: How the size is doubled.
    """

    cell: Cell
    upsample: Upsample = "transposed"

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        nodes = len(levels.channels) - 1
        return Levels(levels.channels[:1] * nodes, levels.strides[:1] * nodes)

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        return refuse_jumps("nested", levels)

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _NestedModule(self, layers, levels, skip)


class _NestedModule(nn.Module):
    def __init__(self, choice: NestedDecoder, layers: Layers, levels: Levels, skip: Skip) -> None:
        super().__init__()
        self.columns = nn.ModuleList()  # by j from 1, of nodes by i from 0
        for column in range(1, len(levels.channels)):
            nodes = nn.ModuleList()
            pairs = zip(levels.channels, levels.channels[1:], factors(levels), strict=False)
            for fine, coarse, factor in list(pairs)[: len(levels.channels) - column]:
                up, channels = upsampler(layers, choice.upsample, coarse=coarse, fine=fine, factor=factor)
                nodes.append(_Node(up, skip, choice.cell, layers, (column * fine, channels, fine)))
            self.columns.append(nodes)

    def forward(self, features: Features) -> list[Tensor]:
        """Features, finest first -> (N, C_0, *S_0) of each column, the last first."""
        rows = [[x] for x in features.maps]
        for nodes in self.columns:
            assert isinstance(nodes, nn.ModuleList)
            for row, (level, node) in enumerate(zip(rows, nodes, strict=False)):
                level.append(node(level, rows[row + 1][-1]))
        return rows[0][:0:-1]


class _Node(nn.Module):
    def __init__(
        self, up: nn.Module, skip: Skip, cell: Cell, layers: Layers, channels: tuple[int, int, int]
    ) -> None:
        """``channels``: of the earlier nodes together, of the upsampled one, of the result."""
        super().__init__()
        earlier, coarse, result = channels
        self.up = up
        self.skip = skip.build(layers, fine=earlier, coarse=coarse)
        self.cell = cell.build(layers, skip.out_channels(earlier, coarse), result)

    def forward(self, earlier: list[Tensor], coarse: Tensor) -> Tensor:
        """Nodes of this level and the last of the next coarser one -> (N, result, *S)."""
        fine = torch.cat(earlier, dim=1) if len(earlier) > 1 else earlier[0]
        result: Tensor = self.cell(self.skip(fine, self.up(coarse)))
        return result
