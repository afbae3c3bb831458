"""Stages whose every layer is an operation of its own choice.

Source: Shaw et al. 2019, "SqueezeNAS: fast neural architecture search for faster semantic segmentation", section 3,
    arXiv:1908.01748; Zhu et al. 2019, "V-NAS: neural architecture search for volumetric medical image segmentation",
    section 2, arXiv:1906.02817.
Deviations: the size is halved by the mean of two pixels a dimension before a stage, where SqueezeNAS strides inside its first
    operation.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry


@dataclass(frozen=True, slots=True)
class Stage:
    """Operations that follow one another.

    Attributes:
        width: Channels that each returns.
        operations: One a layer.
        halves: Whether the size is halved before them.
    """

    width: int
    operations: tuple[Operation, ...]
    halves: bool = True


@entry("staged")
@dataclass(frozen=True, slots=True)
class Staged(Encoder):
    """A convolution, then stages; levels are the last map of each stride.

    Attributes:
        plan: The stages.
        stem: Channels of the convolution.
        stem_stride: Its stride, 1 or 2.
        last: Channels of a pointwise convolution after the last stage; 0 for none.
    """

    plan: tuple[Stage, ...]
    stem: int = 16
    stem_stride: int = 2
    last: int = 0

    def __post_init__(self) -> None:
        good = self.stem >= 1 and self.stem_stride in (1, 2) and self.last >= 0
        if not good or not any(stage.halves for stage in self.plan):
            raise SpaceError(
                f"staged: stem {self.stem}, stem_stride {self.stem_stride}, last {self.last}, {len(self.plan)} stages given; "
                "a stem from 1, a stride of 1 or 2, last from 0 and at least one stage that halves the size are needed."
            )
        for place, stage in enumerate(self.plan):
            if stage.width < 1 or not stage.operations:
                raise SpaceError(
                    f"staged.plan.{place}: width {stage.width}, {len(stage.operations)} operations given; at least 1 of each."
                )

    def levels(self) -> Levels:
        channels, strides = [self.stem], [self.stem_stride]
        for stage in self.plan:
            if stage.halves:
                channels.append(stage.width)
                strides.append(2 * strides[-1])
            channels[-1] = stage.width
        channels[-1] = self.last or channels[-1]
        return Levels(tuple(channels), tuple(strides))

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _StagedModule(self, layers, in_channels)


class _StagedModule(nn.Module):
    def __init__(self, choice: Staged, layers: Layers, in_channels: int) -> None:
        super().__init__()
        levels: list[list[nn.Module]] = [
            [layers.conv_block(in_channels, choice.stem, kernel=3, stride=choice.stem_stride)]
        ]
        before = choice.stem
        for stage in choice.plan:
            if stage.halves:
                levels.append([layers.halve("mean")])
            for operation in stage.operations:
                levels[-1].append(operation.build(layers, before, stage.width))
                before = stage.width
        if choice.last:
            levels[-1].append(layers.conv_block(before, choice.last, kernel=1))
        self.levels = nn.ModuleList(nn.Sequential(*parts) for parts in levels)

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> the last map of each stride, finest first."""
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return Features(maps, [])
