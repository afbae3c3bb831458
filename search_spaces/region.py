"""What region terms share: soft counts of overlap, prediction and label per class, made once for all terms of a loss."""

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor

from search_spaces.scores import Scores

Absent = Literal["penalise_fp", "skip", "one"]
ROUNDING = 1e-6  # of counts beyond 2^24 in float32
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
    """Counts of every class, or of all but class 0; terms that look at the same ones share them."""
    key = f"counts/{squared}/{per_sample}/{background}"
    if key not in scores.memo:
        of_samples = f"counts/{squared}"
        if of_samples not in scores.memo:
            scores.memo[of_samples] = _of_samples(scores, squared=squared)
        scores.memo[key] = _summed(scores.memo[of_samples], 0 if background else 1, per_sample=per_sample)
    return cast(Counts, scores.memo[key])


def _summed(found: Counts, first: int, *, per_sample: bool) -> Counts:
    """Counts of the classes from the first on, of samples or of the batch."""
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
    if absent == "penalise_fp" and len(loss) == 1:
        return loss.mean()  # without a valid pixel it is 0
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
    probs, target = scores.softmax.reshape(samples, classes, -1), scores.target.reshape(samples, -1)
    overlap, predicted, labelled = _SoftSums.apply(probs, target, scores.ignore_index, squared)
    return Counts(overlap, predicted, labelled, labelled.sum(1, keepdim=True) > 0)


class _SoftSums(torch.autograd.Function):
    """Sums over pixels of p at the label (overlap), of p or p^2 (predicted) and of labels (labelled), each (N, K).

    Written out because its gradient is one pass over p, where the graph of the same sums takes four. It goes class by class, so
    that no one-hot label map is made and what it looks at stays near; in a fixed order, so that a seed repeats it. Masks are
    floats, as multiplying by bools takes several times as long.
    """

    @staticmethod
    def forward(ctx: Any, probs: Tensor, target: Tensor, ignore_index: int, squared: bool) -> Any:
        labels = target.to(probs.dtype)
        overlap, labelled = probs.new_empty(probs.shape[:2]), probs.new_empty(probs.shape[:2])
        mask = torch.empty_like(labels)
        for c in range(probs.shape[1]):
            torch.eq(labels, c, out=mask)
            torch.linalg.vecdot(probs[:, c], mask, out=overlap[:, c])
            torch.sum(mask, 1, out=labelled[:, c])
        weights = _valid(target, labelled, ignore_index)
        if squared:
            predicted = torch.linalg.vecdot(probs, probs if weights is None else probs * weights)
        else:
            predicted = probs.sum(2) if weights is None else torch.linalg.vecdot(probs, weights)
        ctx.weights = weights
        ctx.save_for_backward(labels, *([probs] if squared else []))
        ctx.mark_non_differentiable(labelled)
        return overlap, predicted, labelled

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        overlap, predicted, _ = grads
        labels, *probs = ctx.saved_tensors
        grad = overlap.new_empty(*overlap.shape, labels.shape[1])
        mask = torch.empty_like(labels)
        for c, asked in enumerate(_asked(overlap, predicted)):
            if not asked:  # such as a background that takes no part
                grad[:, c] = 0
                continue
            torch.eq(labels, c, out=mask)
            torch.mul(mask, overlap[:, c, None], out=grad[:, c])
            if not probs:
                grad[:, c] += predicted[:, c, None]
        if probs:
            grad.addcmul_(probs[0], (2 * predicted).unsqueeze(2))
        return grad if ctx.weights is None else grad.mul_(ctx.weights), None, None, None


def _asked(*grads: Tensor) -> list[bool]:
    """Whether a class has a gradient (N, K) in any sample; a card is not asked, as the host would wait."""
    if grads[0].device.type != "cpu":
        return [True] * grads[0].shape[1]
    return cast(list[bool], torch.cat(grads).ne(0).any(0).tolist())


def _valid(target: Tensor, labelled: Tensor, ignore_index: int) -> Tensor | None:
    """1 at valid pixels, (N, 1, P), or None where none is known to be ignored; a card is not asked, as the host would wait."""
    on_card = target.device.type != "cpu"
    counted = 0.0 if on_card else float(labelled.sum(dtype=torch.float64))
    if counted == target.numel():
        return None
    valid = target != ignore_index
    if not on_card and float(valid.sum()) - counted > ROUNDING * target.numel():
        raise IndexError("a label of no class")  # a loss says which
    return valid.to(labelled.dtype).unsqueeze(1)
