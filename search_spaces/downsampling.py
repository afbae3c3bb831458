"""Ways of an encoder from one level to the next coarser one."""

from typing import Literal, assert_never

import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.encoder import Features
from search_spaces.layers import Layers

Downsample = Literal["max_pool", "conv", "mean_pool"]
"""Maxima or means of two values in each dimension, or a strided 3-convolution."""


def downsampler(layers: Layers, way: Downsample, channels: int) -> nn.Module:
    """A module that halves the size; max-pooling returns the places of the maxima, too, where they are asked for."""
    match way:
        case "max_pool":
            return layers.max_pool()
        case "conv":
            return layers.conv_block(channels, channels, kernel=3, stride=2)
        case "mean_pool":
            return _MeanPool()
    assert_never(way)


def halved(pool: nn.Module, x: Tensor, features: Features) -> Tensor:
    """What a max-pooling of ``Layers`` makes of a map; the places of the maxima, where it gives them, go to the features."""
    result: Tensor | tuple[Tensor, Tensor] = pool(x)
    if isinstance(result, tuple):
        features.pool_indices.append(result[1])
        return result[0]
    return result


class _MeanPool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> (N, C, *(S / 2))."""
        return F.avg_pool2d(x, 2) if x.dim() == 4 else F.avg_pool3d(x, 2)
