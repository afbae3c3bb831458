"""One network on several sizes of an image, whose scores are mixed by attention.

Source: Chen et al. 2016, "Attention to scale: scale-aware semantic image segmentation", sections 3.1 to 3.3, Figure 2,
    arXiv:1511.03339.
Deviations: scaled sizes are rounded to multiples of the network's deepest stride.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, resize


@dataclass(frozen=True, slots=True)
class ScaleAttention:
    """A weight for each pixel and scale, from what all scales have before their scores.

    Attributes:
        scales: Sizes of the image over its own.
        width: Channels of the hidden convolution that makes the weights; 512 in the paper.
        weight: Of the loss of each scale's own scores beside that of the mixed ones, in training; 0 for none.
    """

    kind: ClassVar[str] = "scale_attention"

    scales: tuple[float, ...] = (1.0, 0.75, 0.5)
    width: int = 512
    weight: float = 1.0

    def __post_init__(self) -> None:
        different = len(set(self.scales)) == len(self.scales) >= 2
        if not different or min(self.scales) <= 0 or max(self.scales) > 2 or self.width < 1:
            raise SpaceError(
                f"architecture.pyramid: scales {self.scales}, width {self.width} given; two or more different scales in "
                "(0, 2] and a width from 1 are allowed."
            )
        if not 0 <= self.weight <= 1:
            raise SpaceError(
                f"architecture.pyramid.weight: {self.weight} given; a weight in [0, 1] is allowed."
            )

    def canonical(self) -> "ScaleAttention":
        """The largest scale first."""
        return replace(self, scales=tuple(sorted(self.scales, reverse=True)))

    def sizes(self, size: Sequence[int], stride: int) -> list[tuple[int, ...]]:
        """Of an image at each scale: multiples of the stride, at least two of them."""
        return [
            tuple(max(round(scale * length / stride), 2) * stride for length in size) for scale in self.scales
        ]

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        """What mixes scores.

        Shape:
            Maps (N, in_channels, *S_i) and scores (N, K, *S) of each scale -> (N, K, *S).
        """
        return _Mix(layers, in_channels, self)


class _Mix(nn.Module):
    def __init__(self, layers: Layers, in_channels: int, choice: ScaleAttention) -> None:
        super().__init__()
        scales = len(choice.scales)
        self.weigh = nn.Sequential(
            layers.conv_block(scales * in_channels, choice.width, kernel=3),
            layers.conv(choice.width, scales, kernel=1, bias=True),
        )

    def forward(self, maps: list[Tensor], scores: list[Tensor]) -> Tensor:
        """Maps and scores of each scale -> mixed scores."""
        finest = tuple(maps[0].shape[2:])
        shares = torch.softmax(self.weigh(torch.cat([resize(x, finest) for x in maps], dim=1)), dim=1)
        shares = resize(shares, tuple(scores[0].shape[2:]))  # (N, scales, *S)
        total = shares[:, :1] * scores[0]
        for place in range(1, len(scores)):
            total = total + shares[:, place : place + 1] * scores[place]
        return total
