"""Convolutions at the image's own size, atrous instead of pooled.

Source: Perone et al. 2018, "Spinal cord gray matter segmentation using deep dilated convolutions", Figure 2,
    arXiv:1710.01269.
Deviations: normalisation comes before the activation, as everywhere in these networks, instead of after it.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("dilated")
@dataclass(frozen=True, slots=True)
class Dilated(Encoder):
    """Stages of one rate each, all of stride 1.

    Attributes:
        width: Channels of every stage.
        rates: Rate of each stage.
        depth: Convolutions of a stage.
        dropout: Share of the channels that is dropped in training after each.
    """

    width: int
    rates: tuple[int, ...]
    depth: int = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        good = len(self.rates) > 1 and min(self.rates) > 0 and min(self.width, self.depth) > 0
        if not good or not 0 <= self.dropout < 1:
            raise SpaceError(
                f"dilated: {self!r} given; two or more rates from 1, width and depth from 1 and dropout in [0, 1) are "
                "allowed."
            )

    def levels(self) -> Levels:
        return Levels((self.width,) * len(self.rates), (1,) * len(self.rates))

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _DilatedModule(self, layers, in_channels)


class _DilatedModule(nn.Module):
    def __init__(self, choice: Dilated, layers: Layers, in_channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        before = in_channels
        for rate in choice.rates:
            stage = nn.Sequential()
            for _ in range(choice.depth):
                stage.append(layers.conv_block(before, choice.width, kernel=3, rate=rate))
                if choice.dropout:
                    stage.append(layers.dropout(choice.dropout))
                before = choice.width
            self.stages.append(stage)

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> one (N, width, *S) a stage."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return Features(maps, [])
