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
        margins.flatten(2),
        scores.labels.flatten(1),
        valid,
        hinge,
        per_sample,
        first,
        margins.device.type != "cpu",
    )
    return found


def extension(errors: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor]:
    """Value of the extension at errors >= 0 of each row, (..., M) float32, and its slope at each of them."""
    pixels = errors.shape[-1]
    keys = ((errors.view(torch.int32) - HALF) << 1) | foreground  # errors >= 0 sort like their bits
    keys, places = keys.sort()
    right = keys & 1
    sorted_errors = ((keys >> 1) + HALF).view(torch.float32)
    total = right.sum(-1, keepdim=True, dtype=torch.int32)
    above = (
        total + right - right.cumsum(-1, dtype=torch.int32)
    ).float()  # foreground with errors as large, itself included
    missed = total - above
    union = missed + torch.arange(pixels, 0, -1, device=errors.device)
    slopes = torch.where(right.bool(), 1 / union, missed / (union * (union - 1)).clamp(min=1))
    last = slopes[..., -1:]  # an absent class: its largest error alone
    last.copy_(torch.where(total == 0, 1.0, last))
    return torch.linalg.vecdot(sorted_errors, slopes), torch.empty_like(slopes).scatter_(-1, places, slopes)


class _Lovasz(torch.autograd.Function):
    """The extension row by row, a row being a class of a sample or of the batch.

    ``together`` sorts all rows in one call, as a card waits for each call's start; without it one row after another is sorted,
    which needs less memory, and a row alone is sorted by digits on the CPU, several rows are not.
    """

    @staticmethod
    def forward(
        ctx: Any,
        margins: Tensor,
        labels: Tensor,
        valid: Tensor | None,
        hinge: bool,
        per_sample: bool,
        first: int,
        together: bool,
    ) -> Tensor:
        samples, classes, _ = margins.shape
        numbers = torch.arange(classes, device=margins.device).view(1, -1, 1)
        slopes = torch.zeros_like(margins)
        losses = margins.new_zeros(samples if per_sample else 1, classes - first)
        for some in _parts(samples, step=1 if per_sample and not together else samples):
            for kinds in _parts(classes, first=first, step=classes if together else 1):
                margin, foreground = margins[some, kinds], labels[some].unsqueeze(1) == numbers[:, kinds]
                if hinge:
                    errors = (1 + torch.where(foreground, -margin, margin)).clamp(min=0)
                else:
                    errors = torch.where(foreground, 1 - margin, margin).clamp(min=0)
                if valid is not None:
                    kept = valid[some].unsqueeze(1)
                    errors, foreground = errors * kept, foreground & kept
                loss, slope = _of_rows(errors, foreground, per_sample=per_sample)
                losses[some if per_sample else slice(1), kinds.start - first : kinds.stop - first] = loss
                slope = slope * (errors > 0)
                slopes[some, kinds] = torch.where(foreground, -slope, slope)
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
        return slopes * grad.unsqueeze(2), None, None, None, None, None, None


def _parts(end: int, *, first: int = 0, step: int) -> list[slice]:
    return [slice(start, min(start + step, end)) for start in range(first, end, step)]


def _of_rows(errors: Tensor, foreground: Tensor, *, per_sample: bool) -> tuple[Tensor, Tensor]:
    """Values, (n, k) or over the batch (1, k), and slopes (n, k, P) of errors (n, k, P)."""
    samples, kinds, pixels = errors.shape
    if not per_sample:
        errors, foreground = errors.transpose(0, 1), foreground.transpose(0, 1)
    rows = (-1, pixels if per_sample else samples * pixels)
    # one row loses its axis: torch has a faster sort for vectors of whole numbers
    values, slopes = extension(errors.reshape(rows).squeeze(0), foreground.reshape(rows).squeeze(0))
    slopes = slopes.view(errors.shape)
    return values.view(-1, kinds), slopes if per_sample else slopes.transpose(0, 1)
