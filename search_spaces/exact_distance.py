"""Signed distance maps of small masks by comparing all pairs of pixels: for checks of losses, where scipy is not at hand."""

import functools

import torch
from torch import Tensor


def signed_distance(masks: Tensor, spacing: tuple[float, ...] = ()) -> Tensor:
    """Signed distance maps as ``LossExtras.distance`` defines them; time and memory grow with the square of the pixels.

    Shape:
        masks (M, *S) bool; returns (M, *S) float32.
    """
    size = tuple(masks.shape[1:])
    apart = _pairs(size, spacing or (1.0,) * len(size)).to(masks.device)
    flat = masks.flatten(1)
    inside = flat.unsqueeze(1)  # (M, 1, P): may the other pixel be taken?
    to_inside = torch.where(inside, apart, torch.inf).amin(2)
    to_outside = torch.where(inside, torch.inf, apart).amin(2)
    found = torch.where(flat, -to_outside, to_inside)
    return torch.where(found.isinf(), 0.0, found).view(masks.shape)


@functools.lru_cache(maxsize=8)
def _pairs(size: tuple[int, ...], spacing: tuple[float, ...]) -> Tensor:
    """Distance of every pixel from every other, (P, P)."""
    axes = [torch.arange(n) * step for n, step in zip(size, spacing, strict=True)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).view(-1, len(size)).float()
    return torch.cdist(grid, grid, compute_mode="donot_use_mm_for_euclid_dist")
