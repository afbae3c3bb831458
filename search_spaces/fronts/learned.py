"""A small network that normalises the image for the one behind it.

Source: Drozdzal et al. 2018, "Learning normalized inputs for iterative estimation in medical image segmentation", section
    3, Figure 2, arXiv:1702.05174.
Deviations: depth and width are choices; sums instead of concatenations on the way up, which keep it small; the paper's
    returns one channel, this one as many as the image has.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from search_spaces.errors import SpaceError
from search_spaces.front import Front
from search_spaces.layers import Layers, resize
from search_spaces.register import entry


@entry("learned")
@dataclass(frozen=True, slots=True)
class LearnedNormaliser(Front):
    """Strided convolutions down, interpolation and sums up, a pointwise convolution to the image's channels.

    Attributes:
        width: Channels of the first level; each further level has twice as many.
        depth: How often the size is halved.
    """

    width: int = 16
    depth: int = 2

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 1:
            raise SpaceError(f"learned: {self!r} given; width and depth are at least 1.")

    def out_channels(self, in_channels: int) -> int:
        return in_channels

    def stride(self) -> int:
        return 1 << self.depth

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _LearnedModule(self, layers, in_channels)


class _LearnedModule(nn.Module):
    def __init__(self, choice: LearnedNormaliser, layers: Layers, in_channels: int) -> None:
        super().__init__()
        widths = [choice.width * 2**level for level in range(choice.depth + 1)]
        self.first = layers.conv_block(in_channels, widths[0], kernel=3)
        self.downs = nn.ModuleList()
        self.ups = nn.ModuleList()
        for fine, coarse in pairwise(widths):
            self.downs.append(layers.conv_block(fine, coarse, kernel=3, stride=2))
            self.ups.append(layers.conv_block(coarse, fine, kernel=3))
        self.last = layers.conv(widths[0], in_channels, kernel=1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> the same shape."""
        maps = [self.first(x)]
        for down in self.downs:
            maps.append(down(maps[-1]))
        y = maps.pop()
        for up in reversed(self.ups):
            fine = maps.pop()
            y = fine + resize(up(y), tuple(fine.shape[2:]))
        result: Tensor = self.last(y)
        return result
