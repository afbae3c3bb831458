"""Linear filters of class maps, in 2D and 3D."""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def gaussian_blur(maps: Tensor, *, sigma: float, spacing: tuple[float, ...]) -> Tensor:
    """Gaussian mean of maps (N, K, *S) with a deviation in the unit of the spacing; zero outside, cut at three deviations."""
    for axis, step in enumerate(spacing):
        width = sigma / step
        reach = math.ceil(3 * width)
        offsets = torch.arange(-reach, reach + 1, dtype=maps.dtype, device=maps.device)
        weights = (-(offsets**2) / (2 * width**2)).exp()
        maps = _along(maps, weights / weights.sum(), axis + 2)
    return maps


def cross_mean(maps: Tensor) -> Tensor:
    """Mean of each pixel and its 2 n neighbours in n dimensions, of maps (N, K, *S); zero outside."""
    ndim = maps.dim() - 2
    kernel = maps.new_zeros([3] * ndim)
    for axis in range(ndim):
        kernel[(1,) * axis + (slice(None),) + (1,) * (ndim - 1 - axis)] = 1 / (2 * ndim + 1)
    return CONVOLVE[ndim](maps.flatten(0, 1).unsqueeze(1), kernel[None, None], padding=1).view(maps.shape)


def steepness(maps: Tensor, *, spacing: tuple[float, ...], least: float = 1e-6) -> Tensor:
    """Length of the gradient by forward differences of maps (N, K, *S), a pixel's own size as the unit of the finest axis.

    Its slope is finite where the maps are flat: sqrt(g^2 + least) - sqrt(least).
    """
    squares = torch.zeros_like(maps)
    for axis, step in enumerate(spacing, start=2):
        change = maps.diff(dim=axis) * (min(spacing) / step)
        squares = squares + F.pad(change.square(), [0, 0] * (maps.dim() - 1 - axis) + [0, 1])
    return (squares + least).sqrt() - math.sqrt(least)


def ball_means(maps: Tensor, *, radii: tuple[float, ...], spacing: tuple[float, ...]) -> Tensor:
    """Means over a ball of each radius around every pixel, (R, N, K, *S) of maps (N, K, *S); zero outside.

    By Fourier transform, which takes as long for a large ball as for a small one.
    """
    size = tuple(maps.shape[2:])
    padded = tuple(n + math.floor(max(radii) / step) for n, step in zip(size, spacing, strict=True))
    dims = tuple(range(-len(size), 0))
    balls = torch.stack([_ball(radius, padded, spacing) for radius in radii]).to(maps.device)
    waves = torch.fft.rfftn(maps, s=padded, dim=dims) * balls[:, None, None]
    means: Tensor = torch.fft.irfftn(waves, s=padded, dim=dims)
    for axis, length in zip(dims, size, strict=True):
        means = means.narrow(axis, 0, length)
    return means


@functools.lru_cache(maxsize=64)
def _ball(radius: float, size: tuple[int, ...], spacing: tuple[float, ...]) -> Tensor:
    """Fourier transform of a ball around the origin of a torus, whose sum is 1."""
    squares = torch.zeros(size)
    for axis, (length, step) in enumerate(zip(size, spacing, strict=True)):
        place = torch.arange(length)
        offset = torch.minimum(place, length - place) * step
        squares = squares + offset.square().view([-1 if a == axis else 1 for a in range(len(size))])
    ball = (squares <= radius**2).float()
    found: Tensor = torch.fft.rfftn(ball / ball.sum())
    return found


def _along(maps: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Convolve maps with an odd number of weights along one axis."""
    moved = maps.movedim(axis, -1)
    rows = moved.reshape(-1, 1, moved.shape[-1])
    blurred = F.conv1d(rows, weights.view(1, 1, -1), padding=len(weights) // 2)
    return blurred.view(moved.shape).movedim(-1, axis)
