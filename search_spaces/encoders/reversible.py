"""Reversible blocks with max-pooling between them.

Source: Brügger et al. 2019, "A partially reversible U-Net for memory-efficient volumetric image segmentation", Figure 1,
    arXiv:1906.06148.
Deviations: groups of the group normalisation are those of all networks here, not half the first stage's channels.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.downsampling import halved
from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.reversible import Lead, ReversibleBlocks


@entry("reversible")
@dataclass(frozen=True, slots=True)
class Reversible(Encoder):
    """A 3-convolution, then at each stage max-pooling, a pointwise convolution and reversible blocks.

    Attributes:
        widths: Channels of each stage, even numbers.
        depth: Reversible blocks of each stage.
    """

    widths: tuple[int, ...] = (8, 16, 24)
    depth: int = 1

    def __post_init__(self) -> None:
        good = len(self.widths) > 1 and min(self.widths) > 0 and not any(width % 2 for width in self.widths)
        if not good or self.depth < 1:
            raise SpaceError(
                f"reversible: {self!r} given; two or more even widths and a depth from 1 are allowed."
            )

    def levels(self) -> Levels:
        return Levels(self.widths, tuple(2**stage for stage in range(len(self.widths))))

    def pools_max(self) -> bool:
        return True

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _ReversibleModule(self, layers, in_channels)


class _ReversibleModule(nn.Module):
    def __init__(self, choice: Reversible, layers: Layers, in_channels: int) -> None:
        super().__init__()
        self.pool = layers.max_pool()
        self.convs = nn.ModuleList()
        self.stages = nn.ModuleList()
        before = in_channels
        for stage, width in enumerate(choice.widths):
            first = layers.conv(before, width, kernel=3, bias=layers.bias) if stage == 0 else None
            self.convs.append(first or Lead(layers, before, width))
            self.stages.append(ReversibleBlocks(layers, width, depth=choice.depth))
            before = width

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> one (N, C_i, *S_i) a stage, finest first."""
        features = Features([], [])
        for place, (conv, stage) in enumerate(zip(self.convs, self.stages, strict=True)):
            x = stage(conv(halved(self.pool, x, features) if place else x))
            features.maps.append(x)
        return features
