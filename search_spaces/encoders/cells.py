"""A pyramid of one cell: the same operations at every stride, channels doubling as the size halves."""

from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor, nn

from search_spaces.cell import Cell
from search_spaces.downsampling import Downsample, downsampler
from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("cells")
@dataclass(frozen=True, slots=True)
class Cells(Encoder):
    """Stages of one cell with halving between them.

    Attributes:
        cell: What each stage computes, with weights of its own.
        width: Channels of the first stage; each further stage has twice as many.
        widest: No stage has more channels than this.
        stages: Number of levels.
        stem: Stride of the first stage: 1, or 2 by a strided convolution before it.
        downsample: How the size is halved between stages.
    """

    cell: Cell
    width: int
    widest: int
    stages: int
    stem: int = 1
    downsample: Downsample = "max_pool"

    def __post_init__(self) -> None:
        if self.width < 1 or self.widest < self.width or self.stages < 2 or self.stem not in (1, 2):
            raise SpaceError(
                f"cells: width {self.width}, widest {self.widest}, stages {self.stages}, stem {self.stem} "
                "given; 1 <= width <= widest, at least 2 stages and a stem of 1 or 2 are allowed."
            )

    def in_network(self) -> "Cells":
        """A limit that no stage reaches is the width of the last one."""
        return replace(self, widest=min(self.widest, self.width * 2 ** (self.stages - 1)))

    def levels(self) -> Levels:
        channels = tuple(min(self.width * 2**stage, self.widest) for stage in range(self.stages))
        return Levels(channels, tuple(self.stem * 2**stage for stage in range(self.stages)))

    def pools_max(self) -> bool:
        return self.downsample == "max_pool"

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _CellsModule(self, layers, in_channels)


class _CellsModule(nn.Module):
    def __init__(self, choice: Cells, layers: Layers, in_channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        before = in_channels
        for stage, channels in enumerate(choice.levels().channels):
            parts: list[nn.Module] = []
            if stage == 0 and choice.stem == 2:
                parts.append(layers.conv_block(before, channels, kernel=3, stride=2))
                before = channels
            elif stage > 0:
                parts.append(downsampler(layers, choice.downsample, before))
            parts.append(choice.cell.build(layers, before, channels))
            self.stages.append(nn.Sequential(*parts))
            before = channels

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> one (N, C_i, *S_i) a stage, finest first."""
        features = Features([], [])
        for stage in self.stages:
            for part in cast(nn.Sequential, stage):
                result: Tensor | tuple[Tensor, Tensor] = part(x)
                if isinstance(result, tuple):  # of a max-pooling that was asked for indices
                    features.pool_indices.append(result[1])
                x = result[0] if isinstance(result, tuple) else result
            features.maps.append(x)
        return features
