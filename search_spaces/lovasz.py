"""The Lovász extension of the Jaccard loss, of all classes, with its gradient written out.

Source: Berman et al. 2018, "The Lovász-softmax loss", Eq. 7-9 and algorithm 1, arXiv:1705.08790.
Deviations: slopes are computed from counts, 1 / union or intersection / (union * (union - 1)), instead of as differences of
    Jaccard losses, which lose most digits on large images; errors are sorted by their bits, the label in the lowest one, as
    whole numbers sort several times faster.
"""

from typing import Any

import torch
from torch import Tensor

from search_spaces.scores import Scores

HALF = 1 << 30  # moves the bits of floats >= 0 to where one more fits


def lovasz(margins: Tensor, scores: Scores, *, hinge: bool, per_sample: bool, first: int) -> Tensor:
    """Loss of each class from ``first`` on, (N, C) per sample or (1, C) over the batch.

    Args:
        margins: Probabilities, whose error is |t - p|, or with ``hinge`` log-odds, whose error is max(0, 1 -+ m); (N, K, *S).
    """
    valid = None if scores.whole else scores.valid.flatten(1)
    found: Tensor = _Lovasz.apply(
        margins.flatten(2), scores.labels.flatten(1), valid, hinge, per_sample, first
    )
    return found


def extension(errors: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor]:
    """Value of the extension at errors >= 0, (M,) float32, and its slope at each of them."""
    pixels = len(errors)
    keys = ((errors.view(torch.int32) - HALF) << 1) | foreground  # errors >= 0 sort like their bits
    keys, places = keys.sort()
    right = keys & 1
    sorted_errors = ((keys >> 1) + HALF).view(torch.float32)
    total = right.sum()
    above = (
        total + right - right.cumsum(0, dtype=torch.int32)
    ).float()  # foreground with errors as large, itself included
    missed = total - above
    union = missed + torch.arange(pixels, 0, -1, device=errors.device)
    slopes = torch.where(right.bool(), 1 / union, missed / (union * (union - 1)).clamp(min=1))
    slopes[-1] = torch.where(total == 0, 1.0, slopes[-1])  # an absent class: its largest error alone
    return torch.dot(sorted_errors, slopes), torch.empty_like(slopes).scatter_(0, places, slopes)


class _Lovasz(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        margins: Tensor,
        labels: Tensor,
        valid: Tensor | None,
        hinge: bool,
        per_sample: bool,
        first: int,
    ) -> Tensor:
        samples, classes, _ = margins.shape
        groups = [slice(n, n + 1) for n in range(samples)] if per_sample else [slice(0, samples)]
        slopes = torch.zeros_like(margins)
        losses = margins.new_zeros(len(groups), classes - first)
        for row, group in enumerate(groups):
            for c in range(first, classes):
                margin, foreground = margins[group, c], labels[group] == c
                if hinge:
                    errors = (1 + torch.where(foreground, -margin, margin)).clamp(min=0)
                else:
                    errors = torch.where(foreground, 1 - margin, margin).clamp(min=0)
                if valid is not None:
                    errors, foreground = errors * valid[group], foreground & valid[group]
                losses[row, c - first], slope = extension(errors.flatten(), foreground.flatten())
                slope = slope.view_as(errors) * (errors > 0)
                slopes[group, c] = torch.where(foreground, -slope, slope)
        ctx.save_for_backward(slopes)
        ctx.first = first
        return losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (slopes,) = ctx.saved_tensors
        if ctx.first:
            grad = torch.nn.functional.pad(grads[0], (ctx.first, 0))
        else:
            grad = grads[0]
        return slopes * grad.unsqueeze(2), None, None, None, None, None
