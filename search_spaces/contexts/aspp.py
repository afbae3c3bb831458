"""Atrous spatial pyramid pooling.

Source: Chen et al. 2017, "Rethinking atrous convolution for semantic image segmentation", section 3.3, Figure
    5, arXiv:1706.05587.
Deviations: rates are chosen for the feature size at hand instead of (6, 12, 18); the image-level branch has a
    bias instead of a normalisation, which is not defined for one value a channel when the batch is one.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from search_spaces.context import Context
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("aspp")
@dataclass(frozen=True, slots=True)
class Aspp(Context):
    """Parallel branches (pointwise, 3-convolutions of several rates, image mean), joined and projected.

    Attributes:
        rates: Rate of each atrous branch, in pixels of the deepest features.
        width: Channels of each branch and of the result.
        image_pool: Whether the mean over the image is a branch.
    """

    rates: tuple[int, ...]
    width: int
    image_pool: bool = True

    def __post_init__(self) -> None:
        if not self.rates or min(self.rates) < 1 or len(set(self.rates)) != len(self.rates) or self.width < 1:
            raise SpaceError(
                f"aspp: rates {self.rates} and width {self.width} given; different rates >= 1 and "
                "a width >= 1 are allowed."
            )

    def canonical(self) -> "Aspp":
        """Rates in ascending order."""
        return replace(self, rates=tuple(sorted(self.rates)))

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _AsppModule(self.canonical(), layers, in_channels)


class _AsppModule(nn.Module):
    def __init__(self, choice: Aspp, layers: Layers, in_channels: int) -> None:
        super().__init__()
        width = choice.width
        self.branches = nn.ModuleList([layers.conv_block(in_channels, width, kernel=1)])
        for rate in choice.rates:
            self.branches.append(layers.conv_block(in_channels, width, kernel=3, rate=rate))
        self.image: nn.Module | None = None
        if choice.image_pool:
            self.image = nn.Sequential(
                layers.conv(in_channels, width, kernel=1, bias=True), layers.activate()
            )
        joined = width * (len(self.branches) + int(choice.image_pool))
        self.project = layers.conv_block(joined, width, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, width, *S)."""
        results = [branch(x) for branch in self.branches]
        if self.image is not None:
            mean = x.mean(dim=tuple(range(2, x.dim())), keepdim=True)  # (N, in_channels, 1, ...)
            results.append(self.image(mean).expand(-1, -1, *x.shape[2:]))  # (N, width, *S)
        joined: Tensor = self.project(torch.cat(results, dim=1))
        return joined
