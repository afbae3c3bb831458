"""Attention refinement of context levels, fused with a level of detail.

Source: Yu et al. 2018, "BiSeNet: bilateral segmentation network for real-time semantic segmentation", sections 3.1 and 3.2,
    Figure 2, arXiv:1808.00897.
Deviations: a 3-convolution before each attention and after each upsampling, as in the re-write whose parameter count is known;
    pooled features of a batch of one image are normalised by the running statistics.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.pooling import image_mean, pooled_block
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("bisenet")
@dataclass(frozen=True, slots=True)
class BiSeNetDecoder(Decoder):
    """Context goes up from the mean of the deepest features; the skip joins it with the finest level.

    Attributes:
        width: Channels of each context level.
    """

    width: int = 128

    def __post_init__(self) -> None:
        if self.width < 1:
            raise SpaceError(f"bisenet: width {self.width} given; at least 1 is allowed.")

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        """The fused map, then context on its way, finest first."""
        strides = levels.strides[:-1]
        return Levels((levels.channels[0] + self.width, *[self.width] * len(strides)), (strides[0], *strides))

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        if skip.out_channels(8, 16) == 24:
            return None
        return f"bisenet keeps the channels of both paths, which skip {skip.kind!r} does not; choose feature_fusion or concat."

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _BiSeNetModule(self, layers, levels, skip)


class _BiSeNetModule(nn.Module):
    def __init__(self, choice: BiSeNetDecoder, layers: Layers, levels: Levels, skip: Skip) -> None:
        super().__init__()
        width = choice.width
        context = levels.channels[:0:-1]  # deepest first
        self.image = pooled_block(layers, context[0], width)
        self.attend = nn.ModuleList(_Attention(layers, channels, width) for channels in context)
        self.after = nn.ModuleList(layers.conv_block(width, width, kernel=3) for _ in context)
        self.fuse = skip.build(layers, fine=levels.channels[0], coarse=width)

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> fused (N, C_0 + width, *S_0), context (N, width, *S_i) of each level but the deepest."""
        detail, *context = features.maps
        x: Tensor = self.image(image_mean(context[-1]))
        sizes = [tuple(level.shape[2:]) for level in features.maps]
        results = []
        levels = zip(context[::-1], sizes[-2::-1], self.attend, self.after, strict=True)
        for level, size, attend, after in levels:
            total = cast(Tensor, attend(level)) + x
            x = after(F.interpolate(total, size=size, mode="nearest"))
            results.append(x)
        return [self.fuse(detail, x), *results[::-1]]


class _Attention(nn.Module):
    """Attention refinement module (Figure 2 b)."""

    def __init__(self, layers: Layers, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv = layers.conv_block(in_channels, width, kernel=3)
        self.gate = pooled_block(layers, width, width, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, width, *S)."""
        y: Tensor = self.conv(x)
        return y * torch.sigmoid(self.gate(image_mean(y)))
