"""Linear filters of class maps, in 2D and 3D, zero outside.

All kernels are symmetric, so that the gradient of a filter is the filter of the gradient. Shifted sums instead of convolutions:
torch's, of a single channel, take tens of times as long on a core.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTH_PRIMES = (2, 3, 5)  # of lengths that are fast to transform


def gaussian_blur(maps: Tensor, *, sigma: float, spacing: tuple[float, ...]) -> Tensor:
    """Gaussian mean of maps (N, K, *S) with a deviation in the unit of the spacing, cut at three deviations."""

    def blur(values: Tensor) -> Tensor:
        for axis, step in enumerate(spacing, start=2):
            width = sigma / step
            powers = [math.exp(-(offset**2) / (2 * width**2)) for offset in range(math.ceil(3 * width) + 1)]
            total = powers[0] + 2 * math.fsum(powers[1:])
            values = _along(values, [power / total for power in powers], axis)
        return values

    return _filtered(maps, blur)


def cross_mean(maps: Tensor) -> Tensor:
    """Mean of each pixel and its 2 n neighbours in n dimensions, of maps (N, K, *S)."""

    def mean(values: Tensor) -> Tensor:
        total = values.clone()
        for axis in range(2, values.dim()):
            _add_shifted(total, values, axis, 1, 1.0)
        return total.div_(2 * (values.dim() - 2) + 1)

    return _filtered(maps, mean)


def ball_means(maps: Tensor, *, radii: tuple[float, ...], spacing: tuple[float, ...]) -> Tensor:
    """Means over a ball of each radius around every pixel, (R, N, K, *S) of maps (N, K, *S).

    By Fourier transform, which takes as long for a large ball as for a small one.
    """
    found: Tensor = _BallMeans.apply(maps, radii, spacing)
    return found


def steepness(maps: Tensor, *, spacing: tuple[float, ...], least: float = 1e-6) -> Tensor:
    """Length of the gradient by forward differences of maps (N, K, *S), a pixel's own size as the unit of the finest axis.

    Its slope is finite where the maps are flat: sqrt(g^2 + least) - sqrt(least).
    """
    squares = torch.zeros_like(maps)
    for axis, step in enumerate(spacing, start=2):
        change = maps.diff(dim=axis) * (min(spacing) / step)
        squares = squares + F.pad(change.square(), [0, 0] * (maps.dim() - 1 - axis) + [0, 1])
    return (squares + least).sqrt() - math.sqrt(least)


class _Filter(torch.autograd.Function):
    """A linear map that is its own adjoint."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, linear: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.linear = linear
        return linear(maps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return ctx.linear(grads[0]), None


class _BallMeans(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, radii: tuple[float, ...], spacing: tuple[float, ...]) -> Tensor:
        size = tuple(maps.shape[2:])
        ctx.padded = tuple(
            _fast_length(n + math.floor(max(radii) / step)) for n, step in zip(size, spacing, strict=True)
        )
        ctx.size, ctx.dims = size, tuple(range(-len(size), 0))
        ctx.balls = torch.stack([_ball(radius, ctx.padded, spacing) for radius in radii]).to(maps.device)
        waves = torch.fft.rfftn(maps, s=ctx.padded, dim=ctx.dims) * ctx.balls[:, None, None]
        return _cropped(torch.fft.irfftn(waves, s=ctx.padded, dim=ctx.dims), size)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        waves = torch.fft.rfftn(grads[0], s=ctx.padded, dim=ctx.dims)
        total = (waves * ctx.balls[:, None, None]).sum(0)
        return _cropped(torch.fft.irfftn(total, s=ctx.padded, dim=ctx.dims), ctx.size), None, None


@functools.lru_cache(maxsize=64)
def _ball(radius: float, size: tuple[int, ...], spacing: tuple[float, ...]) -> Tensor:
    """Fourier transform, which is real, of a ball around the origin of a torus, whose sum is 1."""
    squares = torch.zeros(size)
    for axis, (length, step) in enumerate(zip(size, spacing, strict=True)):
        place = torch.arange(length)
        offset = torch.minimum(place, length - place) * step
        squares = squares + offset.square().view([-1 if a == axis else 1 for a in range(len(size))])
    ball = (squares <= radius**2).float()
    found: Tensor = torch.fft.rfftn(ball / ball.sum()).real
    return found


def _fast_length(least: int) -> int:
    """The least length from there on without a prime factor over 5."""
    while True:
        rest = least
        for prime in SMOOTH_PRIMES:
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return least
        least += 1


def _cropped(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    for axis, length in enumerate(size, start=-len(size)):
        maps = maps.narrow(axis, 0, length)
    return maps.contiguous()


def _filtered(maps: Tensor, linear: Callable[[Tensor], Tensor]) -> Tensor:
    found: Tensor = _Filter.apply(maps, linear)
    return found


def _along(values: Tensor, weights: list[float], axis: int) -> Tensor:
    """Weighted sum of neighbours along an axis; ``weights`` of distance 0, 1, ..."""
    total = weights[0] * values
    for distance, weight in enumerate(weights[1:], start=1):
        _add_shifted(total, values, axis, distance, weight)
    return total


def _add_shifted(total: Tensor, values: Tensor, axis: int, distance: int, weight: float) -> None:
    """Add what stands a distance before and behind along an axis, in place."""
    length = values.shape[axis] - distance
    if length > 0:
        total.narrow(axis, distance, length).add_(values.narrow(axis, 0, length), alpha=weight)
        total.narrow(axis, 0, length).add_(values.narrow(axis, distance, length), alpha=weight)
