"""From the deepest level up with one width, one skip a level.

Source: Lin et al. 2017, "Feature pyramid networks for object detection", Figure 3, arXiv:1612.03144; Kirillov et al. 2019,
    "Panoptic feature pyramid networks", Figure 3, arXiv:1901.02446 (the sum over levels).
Deviations: interpolation is linear; levels are summed after one 3-convolution each instead of one for each doubling. The
    pyramid attention network (Li et al. 2018, arXiv:1805.10180) is this one without smoothing.
"""

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

from search_spaces.decoder import Decoder, refuse_wider
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, resize
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("fpn")
@dataclass(frozen=True, slots=True)
class FpnDecoder(Decoder):
    """Coarse features are upsampled and take in the next finer ones by the skip, which changes the finer channels.

    Attributes:
        width: Channels of every level.
        finest: Which level is the last to be taken in, 0 the first of the encoder.
        smooth: Whether a 3-convolution follows at each level whose map is used.
        merge: The result: the ``finest`` map, or the ``sum`` of all, upsampled.
    """

    width: int
    finest: int = 1
    smooth: bool = True
    merge: Literal["finest", "sum"] = "finest"

    def __post_init__(self) -> None:
        if self.width < 1 or self.finest < 0:
            raise SpaceError(f"fpn: {self!r} given; a width from 1 and a finest level from 0 are allowed.")

    def first(self, levels: Levels) -> int:
        """The finest level that is taken in."""
        return min(self.finest, len(levels.channels) - 2)

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        return Levels((self.width,), (levels.strides[self.first(levels)],))

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        return refuse_wider("fpn", skip)

    def in_network(self, levels: Levels, skip: Skip, *, bias: bool) -> "FpnDecoder":
        return replace(self, finest=max(self.first(levels), 0))

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _FpnModule(self, layers, levels, skip)


class _FpnModule(nn.Module):
    def __init__(self, choice: FpnDecoder, layers: Layers, levels: Levels, skip: Skip) -> None:
        super().__init__()
        width = choice.width
        channels = levels.channels[choice.first(levels) :]
        self.deepest = layers.projection(channels[-1], width)
        self.skips = nn.ModuleList(
            skip.build(layers, fine=fine, coarse=width) for fine in reversed(channels[:-1])
        )
        used = len(channels) if choice.merge == "sum" else 1
        self.smooth = nn.ModuleList(
            layers.conv_block(width, width, kernel=3) if choice.smooth else nn.Identity() for _ in range(used)
        )

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> one map (N, width, *S_finest)."""
        maps = features.maps[::-1]
        levels = [self.deepest(maps[0])]
        for fine, skip in zip(maps[1:], self.skips, strict=False):
            levels.append(skip(fine, resize(levels[-1], tuple(fine.shape[2:]))))
        size = tuple(levels[-1].shape[2:])
        used = [smooth(x) for smooth, x in zip(self.smooth, reversed(levels), strict=False)]
        total = used[0]
        for x in used[1:]:
            total = total + resize(x, size)
        return [total]
