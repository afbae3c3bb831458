"""Nested U-Nets of every depth that share their nodes.

Source: Zhou et al. 2018, "UNet++: a nested U-Net architecture for medical image segmentation", Eq. 1 and Figure 1,
    arXiv:1807.10165.
Deviations: what a node computes is a cell; the skip joins all earlier nodes of a level with the upsampled one (the
    paper concatenates).
"""

from dataclasses import dataclass, field, replace

import torch
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


@entry("nested")
@dataclass(frozen=True, slots=True)
class NestedDecoder(Decoder):
    """Node (i, j) of level i takes in nodes (i, 0) to (i, j - 1) and the upsampled node (i + 1, j - 1).

    Its maps are the finest nodes, the last first, so that auxiliary heads give the deep supervision of the paper.

    Attributes:
        cell: What each node computes, with weights of its own.
        upsample: How the size is doubled.
        widths: Channels of the last node of each level, finest first; empty takes the encoder's, which all other nodes have.
            Where there is one more than levels to climb, the first is that of a further doubling without a skip.
    """

    cell: Cell
    upsample: Upsample = "transposed"
    widths: tuple[int, ...] = field(default=(), metadata=LATER)

    def __post_init__(self) -> None:
        if self.widths and min(self.widths) < 1:
            raise SpaceError(f"nested.widths: {self.widths} given; widths from 1 are allowed.")

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        """The last finest node first, or the further doubling before it."""
        nodes = len(levels.channels) - 1
        last = self.widths[: len(self.widths) - nodes + 1] if self.widths else levels.channels[:1]
        further = len(last) - 1
        channels = (*last, *levels.channels[:1] * (nodes - 1))
        return Levels(channels, (*[levels.strides[0] // 2] * further, *levels.strides[:1] * nodes))

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        further = len(self.widths) - len(levels.channels) + 1
        if self.widths and (further not in (0, 1) or levels.strides[0] % 2**further):
            return (
                f"nested has {len(self.widths)} widths for levels of strides {levels.strides}; give one for each but the "
                "deepest, and one more only where the finest stride can be halved."
            )
        return refuse_jumps("nested", levels)

    def in_network(self, levels: Levels, skip: Skip, *, bias: bool) -> "NestedDecoder":
        return replace(self, widths=() if self.widths == levels.channels[:-1] else self.widths)

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _NestedModule(self, layers, levels, skip)


class _NestedModule(nn.Module):
    def __init__(self, choice: NestedDecoder, layers: Layers, levels: Levels, skip: Skip) -> None:
        super().__init__()
        self.columns = nn.ModuleList()  # by j from 1, of nodes by i from 0
        climbed = len(levels.channels) - 1
        last = choice.widths[len(choice.widths) - climbed :] if choice.widths else levels.channels[:-1]
        steps = factors(levels)
        for column in range(1, climbed + 1):
            nodes = nn.ModuleList()
            for level in range(climbed - column + 1):
                fine, outer = levels.channels[level], level + column == climbed
                last_below = (
                    outer and column > 1
                )  # where a node is the last of its level, so is the coarser one
                coarse = last[level + 1] if last_below else levels.channels[level + 1]
                width = last[level] if outer else fine
                up, taken = upsampler(layers, choice.upsample, coarse=coarse, fine=width, factor=steps[level])
                nodes.append(_Node(up, skip, choice.cell, layers, (column * fine, taken, width)))
            self.columns.append(nodes)
        self.further: nn.Module | None = None
        if len(choice.widths) > climbed:
            up, taken = upsampler(layers, choice.upsample, coarse=last[0], fine=choice.widths[0], factor=2)
            self.further = nn.Sequential(up, choice.cell.build(layers, taken, choice.widths[0]))

    def forward(self, features: Features) -> list[Tensor]:
        """Features, finest first -> (N, C_0, *S_0) of each column, the last first, after a further doubling of it."""
        rows = [[x] for x in features.maps]
        for nodes in self.columns:
            assert isinstance(nodes, nn.ModuleList)
            for row, (level, node) in enumerate(zip(rows, nodes, strict=False)):
                level.append(node(level, rows[row + 1][-1]))
        results = rows[0][:0:-1]
        return results if self.further is None else [self.further(results[0]), *results]


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
