"""Atrous spatial pyramid pooling with branches of two convolutions.

Source: Perone et al. 2018, "Spinal cord gray matter segmentation using deep dilated convolutions", Figure 2,
    arXiv:1710.01269.
Deviations: normalisation comes before the activation, as everywhere in these networks, instead of after it.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from search_spaces.context import Context
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.pooling import image_mean
from search_spaces.register import entry


@entry("deep_aspp")
@dataclass(frozen=True, slots=True)
class DeepAspp(Context):
    """A branch of a 3-convolution and a pointwise one, one of two atrous 3-convolutions for each rate, and the mean.

    Attributes:
        rates: Rate of each atrous branch, in pixels of the deepest features.
        width: Channels of each branch; the joined ones are projected to twice as many.
        dropout: Share of the channels that is dropped in training after each convolution.
    """

    rates: tuple[int, ...]
    width: int
    dropout: float = 0.0

    def __post_init__(self) -> None:
        good = self.rates and min(self.rates) > 0 and len(set(self.rates)) == len(self.rates)
        if not good or self.width < 1 or not 0 <= self.dropout < 1:
            raise SpaceError(
                f"deep_aspp: {self!r} given; different rates from 1, a width from 1 and dropout in [0, 1) are allowed."
            )

    def canonical(self) -> "DeepAspp":
        """Rates in ascending order."""
        return replace(self, rates=tuple(sorted(self.rates)))

    def out_channels(self, in_channels: int) -> int:
        return 2 * self.width

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _DeepAsppModule(self.canonical(), layers, in_channels)


class _DeepAsppModule(nn.Module):
    def __init__(self, choice: DeepAspp, layers: Layers, in_channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList()
        for first, second, rate in ((3, 1, 1), *((3, 3, rate) for rate in choice.rates)):
            branch = nn.Sequential()
            for before, kernel in ((in_channels, first), (choice.width, second)):
                branch.append(layers.conv_block(before, choice.width, kernel=kernel, rate=rate))
                branch.append(layers.dropout(choice.dropout) if choice.dropout else nn.Identity())
            self.branches.append(branch)
        joined = choice.width * len(self.branches) + in_channels
        self.project = nn.Sequential(
            layers.normalise(joined),
            layers.dropout(choice.dropout) if choice.dropout else nn.Identity(),
            layers.conv_block(joined, 2 * choice.width, kernel=1),
            layers.dropout(choice.dropout) if choice.dropout else nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, 2 * width, *S)."""
        mean = image_mean(x).expand_as(x)
        joined = torch.cat([*(branch(x) for branch in self.branches), mean], dim=1)
        result: Tensor = self.project(joined)
        return result
