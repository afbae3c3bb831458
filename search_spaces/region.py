"""What region terms share: soft counts of overlap, prediction and label per class, made once for all terms of a loss."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from search_spaces.scores import Scores

Absent = Literal["penalise_fp", "skip", "one"]
FLOOR = 1e-6  # below it a power with an exponent under 1 goes on as a straight line, so that its slope stays finite


@dataclass(frozen=True, slots=True)
class Counts:
    """Soft counts in pixels, each (N, C) per sample or (1, C) over the batch.

    Attributes:
        overlap: Probability of a class at its own pixels.
        predicted: Probability of a class anywhere, or its square.
        labelled: Pixels of a class.
        used: Whether the sample, or the batch, has a valid pixel, (N, 1) or (1, 1).
    """

    overlap: Tensor
    predicted: Tensor
    labelled: Tensor
    used: Tensor


def soft_counts(scores: Scores, *, squared: bool, per_sample: bool, background: bool) -> Counts:
    """Counts of every class, or of all but class 0."""
    found = scores.memo.get(f"counts/{squared}")
    if found is None:
        found = scores.memo[f"counts/{squared}"] = _of_samples(scores, squared=squared)
    first = 0 if background else 1
    overlap, predicted, labelled = (
        part[:, first:] if per_sample else part[:, first:].sum(0, keepdim=True)
        for part in (found.overlap, found.predicted, found.labelled)
    )
    used = found.used if per_sample else found.used.any(0, keepdim=True)
    return Counts(overlap, predicted, labelled, used)


def mean_loss(loss: Tensor, counts: Counts, absent: Absent) -> Tensor:
    """Mean over samples and classes under a policy for classes that are absent from the labels.

    Samples without a valid pixel count nowhere.

    Args:
        loss: Loss of each class, (N, C), in [0, 1]; for an absent class 1 - 1 / (1 + its false positives).
        counts: Of the same samples and classes.
        absent: ``penalise_fp`` counts the loss as it is; ``skip`` leaves absent classes out of the mean;
            ``one`` counts them as perfect.
    """
    used = counts.used.expand_as(loss)
    present = used if absent == "penalise_fp" else used & (counts.labelled > 0)
    counted = present if absent == "skip" else used
    return torch.where(present, loss, 0.0).sum() / counted.sum().clamp(min=1)


def smoothing(counts: Counts) -> Tensor:
    """One pixel for classes that are absent from the labels, none for others, so that small objects are not flattened."""
    return (counts.labelled == 0).to(counts.labelled.dtype)


def concave_power(value: Tensor, exponent: float) -> Tensor:
    """value ** exponent for value >= 0, with a finite slope at 0 also where the exponent is under 1."""
    if exponent >= 1:
        return value**exponent
    curved = value.clamp(min=FLOOR) ** exponent
    return torch.where(value < FLOOR, value * FLOOR ** (exponent - 1), curved)


def _of_samples(scores: Scores, *, squared: bool) -> Counts:
    samples, classes = scores.logits.shape[:2]
    labels = scores.labels.reshape(samples, -1)
    valid = None if scores.whole else scores.valid.reshape(samples, -1)
    overlap, predicted = _SoftSums.apply(scores.softmax.reshape(samples, classes, -1), labels, valid, squared)
    ones = torch.ones((), dtype=overlap.dtype, device=labels.device).expand(labels.shape)
    labelled = _by_class(ones, labels, valid, classes)
    return Counts(overlap, predicted, labelled, labelled.sum(1, keepdim=True) > 0)


def _by_class(values: Tensor, labels: Tensor, valid: Tensor | None, classes: int) -> Tensor:
    """Sums over the pixels of each class, (N, K), of values (N, P); in a fixed order, so that a seed repeats them."""
    if valid is not None:
        values = values * valid
    if values.device.type == "cpu":
        sums = values.new_zeros(len(labels), classes, dtype=torch.float64)
        return sums.scatter_add_(1, labels, values.double()).to(values.dtype)
    return torch.stack([torch.where(labels == c, values, 0.0).sum(1) for c in range(classes)], dim=1)


class _SoftSums(torch.autograd.Function):
    """Sums over pixels of p at the label (overlap) and of p or p^2 (predicted), each (N, K).

    Written out because its gradient is one pass over p, where the graph of the same sums takes four, and because no one-hot
    label map is made.
    """

    @staticmethod
    def forward(ctx: Any, probs: Tensor, labels: Tensor, valid: Tensor | None, squared: bool) -> Any:
        right = probs.gather(1, labels.unsqueeze(1)).squeeze(1)
        weights = None if valid is None else valid.to(probs.dtype).unsqueeze(1)
        if squared:
            predicted = torch.linalg.vecdot(probs, probs if weights is None else probs * weights)
        else:
            predicted = probs.sum(2) if weights is None else torch.linalg.vecdot(probs, weights)
        ctx.pixels, ctx.weights = probs.shape[2], weights
        ctx.save_for_backward(labels, *([probs] if squared else []))
        return _by_class(right, labels, valid, probs.shape[1]), predicted

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        overlap, predicted = grads
        labels, *probs = ctx.saved_tensors
        if probs:
            grad = probs[0] * (2 * predicted).unsqueeze(2)
        else:
            grad = predicted.unsqueeze(2).expand(-1, -1, ctx.pixels).contiguous()
        grad.scatter_add_(1, labels.unsqueeze(1), overlap.gather(1, labels).unsqueeze(1))
        return grad if ctx.weights is None else grad.mul_(ctx.weights), None, None, None
