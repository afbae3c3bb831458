"""Atrous spatial pyramid pooling.

Source: Chen et al. 2017, "Rethinking atrous convolution for semantic image segmentation", section 3.3, Figure
    5, arXiv:1706.05587; Chen et al. 2018, "Encoder-decoder with atrous separable convolution for semantic image
    segmentation", section 3.1 (separable branches), arXiv:1802.02611.
Deviations: rates are chosen for the feature size at hand instead of (6, 12, 18); unless ``image_norm`` asks for the
    paper's normalisation, the image-level branch has a bias instead, as batch normalisation is not defined for one
    value a channel when the batch is one (``PooledBatchNorm`` says what happens then).
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from search_spaces.codec import LATER
from search_spaces.context import Context
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, Norm
from search_spaces.pooling import image_mean, pooled_block
from search_spaces.register import entry


@entry("aspp")
@dataclass(frozen=True, slots=True)
class Aspp(Context):
    """Parallel branches (pointwise, 3-convolutions of several rates, image mean), joined and projected.

    Attributes:
        rates: Rate of each atrous branch, in pixels of the deepest features.
        width: Channels of each branch and of the result.
        image_pool: Whether the mean over the image is a branch.
        image_norm: Whether that branch is normalised.
        separable: Whether atrous branches are depthwise separable.
        dropout: Share of the result's channels that is dropped in training.
        inner: Whether normalisation and activation stand between the two parts of a separable branch.
    """

    rates: tuple[int, ...]
    width: int
    image_pool: bool = True
    image_norm: bool = field(default=False, metadata=LATER)
    separable: bool = field(default=False, metadata=LATER)
    dropout: float = field(default=0.0, metadata=LATER)
    inner: bool = field(default=True, metadata=LATER)

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise SpaceError(f"aspp: dropout {self.dropout} given; a share in [0, 1) is allowed.")
        if not self.rates or min(self.rates) < 1 or len(set(self.rates)) != len(self.rates) or self.width < 1:
            raise SpaceError(
                f"aspp: rates {self.rates} and width {self.width} given; different rates >= 1 and "
                "a width >= 1 are allowed."
            )

    def canonical(self) -> "Aspp":
        """Rates in ascending order; what is not there has no norm."""
        image_norm, inner = self.image_norm and self.image_pool, self.inner or not self.separable
        return replace(self, rates=tuple(sorted(self.rates)), image_norm=image_norm, inner=inner)

    def in_network(self, norm: Norm) -> "Aspp":
        """A branch of one value a channel is normalised by batches or not at all (``pooled_block``)."""
        return self if norm == "batch" else replace(self, image_norm=False)

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
            self.branches.append(_atrous(choice, layers, in_channels, rate))
        self.image: nn.Module | None = None
        if choice.image_norm:
            self.image = pooled_block(layers, in_channels, width)
        elif choice.image_pool:
            self.image = nn.Sequential(
                layers.conv(in_channels, width, kernel=1, bias=True), layers.activate(width)
            )
        joined = width * (len(self.branches) + int(choice.image_pool))
        self.project = layers.conv_block(joined, width, kernel=1)
        if choice.dropout:
            self.project.append(layers.dropout(choice.dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, width, *S)."""
        results = [branch(x) for branch in self.branches]
        if self.image is not None:
            results.append(self.image(image_mean(x)).expand(-1, -1, *x.shape[2:]))  # (N, width, *S)
        joined: Tensor = self.project(torch.cat(results, dim=1))
        return joined


def _atrous(choice: Aspp, layers: Layers, in_channels: int, rate: int) -> nn.Module:
    if not choice.separable:
        return layers.conv_block(in_channels, choice.width, kernel=3, rate=rate)
    make = layers.conv_block if choice.inner else layers.conv
    depthwise = make(in_channels, in_channels, kernel=3, rate=rate, groups=in_channels)
    first = depthwise if isinstance(depthwise, nn.Sequential) else [depthwise]
    return nn.Sequential(*first, *layers.conv_block(in_channels, choice.width, kernel=1))
