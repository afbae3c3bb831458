"""Attention at every scale, guided by all scales together.

Source: Sinha and Dolz 2021, "Multi-scale self-guided attention for medical image segmentation", section III, Figures 1 to 3,
    arXiv:1906.02849.
Deviations: without the losses that make the guiding hourglasses reconstruct their input; the hourglasses halve the size
    once, have no normalisation and give weights in (0, 1); the result is the mean of the refined maps, which with one
    classifier is the mean of the predictions.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from search_spaces.attention import ChannelAttention, PositionAttention
from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, resize
from search_spaces.register import entry
from search_spaces.skip import Skip

STEPS = 2  # attention modules in a row (section III-C)


@entry("guided_attention")
@dataclass(frozen=True, slots=True)
class GuidedAttentionDecoder(Decoder):
    """Every level at one size; what each shares with all is attended to twice, refined, and the mean taken.

    Its maps are the mean and the refined map of each level, for auxiliary heads. Memory grows with the square of the number
    of places at the finest level.

    Attributes:
        width: Channels of every map.
        finest: Which level is the first to take part, 0 the finest of the encoder; its size is that of all.
    """

    width: int
    finest: int = 1

    def __post_init__(self) -> None:
        if self.width < 1 or self.finest < 0:
            raise SpaceError(
                f"guided_attention: {self!r} given; a width from 1 and a finest level from 0 are allowed."
            )

    def first(self, levels: Levels) -> int:
        """The finest level that takes part."""
        return min(self.finest, len(levels.channels) - 2)

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        first = self.first(levels)
        maps = 1 + len(levels.channels) - first
        return Levels((self.width,) * maps, (levels.strides[first],) * maps)

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        return (
            None if skip.kind == "none" else f"guided_attention has no skip, {skip.kind} given; choose none."
        )

    def in_network(self, levels: Levels, skip: Skip, *, bias: bool) -> "GuidedAttentionDecoder":
        return replace(self, finest=max(self.first(levels), 0))

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _DecoderModule(self, layers, levels)


class _DecoderModule(nn.Module):
    def __init__(self, choice: GuidedAttentionDecoder, layers: Layers, levels: Levels) -> None:
        super().__init__()
        self.first, width = choice.first(levels), choice.width
        used = levels.channels[self.first :]
        self.narrow = nn.ModuleList(layers.conv_block(channels, width, kernel=1) for channels in used)
        self.fuse = layers.conv_block(len(used) * width, width, kernel=1)
        self.steps = nn.ModuleList(nn.ModuleList(_Guided(layers, width) for _ in range(STEPS)) for _ in used)
        self.refine = nn.ModuleList(layers.conv_block(2 * width, width, kernel=3) for _ in used)

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> mean and refined map of each level, (N, width, *S_first) each."""
        used = features.maps[self.first :]
        size = tuple(used[0].shape[2:])
        maps = [resize(narrow(x), size) for narrow, x in zip(self.narrow, used, strict=True)]
        shared = self.fuse(torch.cat(maps, dim=1))
        refined = []
        for x, steps, refine in zip(maps, self.steps, self.refine, strict=True):
            found = shared
            assert isinstance(steps, nn.ModuleList)
            for step in steps:
                found = step(torch.cat([x, found], dim=1))
            refined.append(refine(torch.cat([found, shared], dim=1)))
        mean = refined[0]
        for x in refined[1:]:
            mean = mean + x
        return [mean / len(refined), *refined]


class _Guided(nn.Module):
    """Attention between places and between channels, times what an hourglass makes of the same features."""

    def __init__(self, layers: Layers, width: int) -> None:
        super().__init__()
        self.enter = layers.conv_block(2 * width, width, kernel=3)
        self.places, self.channels = PositionAttention(layers, width), ChannelAttention()
        self.down = nn.Sequential(
            layers.conv(2 * width, width, kernel=3, stride=2, bias=True), layers.activate(width)
        )
        self.up = layers.conv(width, width, kernel=3, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2 * width, *S) -> (N, width, *S)."""
        entered = self.enter(x)
        guide = resize(self.up(self.down(x)), tuple(x.shape[2:]))
        attended: Tensor = self.places(entered) + self.channels(entered)
        return attended * torch.sigmoid(guide)
