"""Dense atrous convolution and residual multi-kernel pooling.

Source: Gu et al. 2019, "CE-Net: context encoder network for 2D medical image segmentation", Figures 3 and 4,
    arXiv:1903.02740.
Deviations: a pool that is larger than the features covers all of them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.context import Context
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, resize
from search_spaces.register import entry


@entry("dac_rmp")
@dataclass(frozen=True, slots=True)
class DacRmp(Context):
    """Chains of atrous convolutions, which share their weights, added to the features; then one map for each pool.

    Attributes:
        chain: Rates of the 3-convolutions, in the order of the longest chain; there is a chain for each beginning of it, and
            one of the second alone.
        pools: Sizes of the maxima, in pixels of the deepest features.
    """

    chain: tuple[int, int, int] = (1, 3, 5)
    pools: tuple[int, ...] = (2, 3, 5, 6)

    def __post_init__(self) -> None:
        if min(self.chain) < 1 or min(self.pools, default=2) < 2:
            raise SpaceError(f"dac_rmp: {self!r} given; rates from 1 and pools from 2 are allowed.")

    def out_channels(self, in_channels: int) -> int:
        return in_channels + len(self.pools)

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _DacRmpModule(self, layers, in_channels)


class _DacRmpModule(nn.Module):
    def __init__(self, choice: DacRmp, layers: Layers, channels: int) -> None:
        super().__init__()
        self.pools = choice.pools
        self.atrous = nn.ModuleList(
            layers.conv(channels, channels, kernel=3, rate=rate, bias=True) for rate in choice.chain
        )
        self.pointwise = layers.conv(channels, channels, kernel=1, bias=True)
        self.activation = layers.activate(channels, inplace=False)
        self.score = layers.conv(channels, 1, kernel=1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> (N, C + pools, *S)."""
        first, second, third = self.atrous
        once = first(x)
        twice = second(once)
        chains = [once, *(self.pointwise(chain) for chain in (second(x), twice, third(twice)))]
        for chain in chains:
            x = x + self.activation(chain)
        size = tuple(x.shape[2:])
        maps = [x]
        pool = F.max_pool2d if x.dim() == 4 else F.max_pool3d
        for kernel in self.pools:
            kernels = [min(kernel, length) for length in size]
            maps.insert(-1, resize(self.score(pool(x, kernels)), size))
        return torch.cat(maps, dim=1)
