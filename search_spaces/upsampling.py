"""Ways of a decoder from one level to the next finer one, for every decoder that climbs level by level."""

from typing import Literal, assert_never

import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.encoder import Levels
from search_spaces.layers import Layers, Resize

Upsample = Literal["transposed", "bilinear", "interpolated", "nearest", "nearest_conv", "transposed_block"]
"""``transposed`` convolution; ``bilinear`` interpolation (trilinear in three dimensions) of pointwise-convolved
features, or of all channels as they are (``interpolated``); ``nearest`` values of all channels, or with a 3-convolution
after them (``nearest_conv``); a transposed 3-convolution with norm and activation (``transposed_block``)."""


def upsampler(layers: Layers, way: Upsample, *, coarse: int, fine: int, factor: int) -> tuple[nn.Module, int]:
    """The module and the channels it returns.

    Args:
        coarse: Channels of what it takes.
        fine: Channels of the level it leads to.
        factor: 1 or 2; with 1 only the channels change.

    Shape:
        (N, coarse, *S) -> (N, channels, *(factor * S)).
    """
    match way:
        case "interpolated" | "nearest" if factor == 1:
            return nn.Identity(), coarse
        case "interpolated":
            return Resize(2), coarse
        case "nearest":
            return _Doubled(), coarse
        case "bilinear" | "transposed" | "nearest_conv" | "transposed_block" if factor == 1:
            return layers.projection(coarse, fine), fine
        case "transposed":
            return layers.transposed(coarse, fine), fine
        case "bilinear":
            return nn.Sequential(layers.projection(coarse, fine), Resize(2)), fine
        case "nearest_conv":
            return nn.Sequential(_Doubled(), layers.conv_block(coarse, fine, kernel=3)), fine
        case "transposed_block":
            conv = layers.transposed(coarse, fine, kernel=3, bias=layers.bias)
            return nn.Sequential(conv, layers.normalise(fine), layers.activate(fine)), fine
    assert_never(way)


def factors(levels: Levels) -> tuple[int, ...]:
    """How many times coarser each level is than the one before it, finest first."""
    pairs = zip(levels.strides, levels.strides[1:], strict=False)
    return tuple(coarse // fine for fine, coarse in pairs)


def refuse_jumps(kind: str, levels: Levels) -> str | None:
    """Why such a decoder cannot follow an encoder whose levels are more than a factor of two apart."""
    if max(factors(levels)) <= 2:
        return None
    return (
        f"{kind} doubles the size from level to level, strides {levels.strides} given; "
        "choose an encoder without jumps, or another decoder."
    )


class _Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> (N, C, *(2 * S)), each value repeated."""
        return F.interpolate(x, size=tuple(2 * size for size in x.shape[2:]), mode="nearest")
