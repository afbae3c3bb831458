"""A shallow path for detail beside a deep one for context.

Source: Yu et al. 2018, "BiSeNet: bilateral segmentation network for real-time semantic segmentation", section 3.1, Figure 2 a,
    arXiv:1808.00897.
Deviations: the first convolution has 7 pixels and a pointwise one follows the three strided ones, as in the re-write whose
    parameter count is known; the deep path is any encoder.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("two_path")
@dataclass(frozen=True, slots=True)
class TwoPath(Encoder):
    """The map of the shallow path first, then those of the deep path that are coarser.

    Attributes:
        deep: The deep path; its levels must go beyond the stride of the shallow one.
        width: Channels of the shallow path; its map has twice as many.
        halvings: Strided convolutions of the shallow path, whose stride is two to this power.
    """

    deep: Encoder
    width: int = 64
    halvings: int = 3

    def __post_init__(self) -> None:
        if self.width < 1 or self.halvings < 1:
            raise SpaceError(
                f"two_path: {self!r} given; a width from 1 and at least one halving are allowed."
            )
        if self.deep.levels().strides[-1] <= 2**self.halvings:
            raise SpaceError(
                f"two_path.deep: strides {self.deep.levels().strides} given; the last must be above that of the shallow "
                f"path, {2**self.halvings}; choose a deeper encoder, or fewer halvings."
            )

    def skipped(self) -> int:
        """How many levels of the deep path are as fine as the shallow one, or finer."""
        return sum(stride <= 2**self.halvings for stride in self.deep.levels().strides)

    def levels(self) -> Levels:
        deep, skipped = self.deep.levels(), self.skipped()
        return Levels((2 * self.width, *deep.channels[skipped:]), (2**self.halvings, *deep.strides[skipped:]))

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _TwoPathModule(self, layers, in_channels)


class _TwoPathModule(nn.Module):
    def __init__(self, choice: TwoPath, layers: Layers, in_channels: int) -> None:
        super().__init__()
        width = choice.width
        self.skipped = choice.skipped()
        self.deep = choice.deep.build(layers, in_channels)
        self.shallow = nn.Sequential(layers.conv_block(in_channels, width, kernel=7, stride=2))
        for _ in range(choice.halvings - 1):
            self.shallow.append(layers.conv_block(width, width, kernel=3, stride=2))
        self.shallow.append(layers.conv_block(width, 2 * width, kernel=1))

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> the shallow map and the coarser deep ones."""
        deep: Features = self.deep(x)
        return Features([self.shallow(x), *deep.maps[self.skipped :]], [])
