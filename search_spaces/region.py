"""What region terms share: soft counts of true positives, false positives and false negatives per class."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from search_spaces.scores import Scores

Absent = Literal["penalise_fp", "skip", "one"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Soft counts in pixels, each (N, C) per sample or (1, C) over the batch.

    Attributes:
        overlap: Probability of a class at its own pixels.
        predicted: Probability of a class anywhere, or its square.
        labelled: Pixels of a class.
    """

    overlap: Tensor
    predicted: Tensor
    labelled: Tensor


def soft_counts(scores: Scores, *, squared: bool, per_sample: bool, background: bool) -> Counts:
    """Counts of every class, or of all but class 0."""
    first = 0 if background else 1
    probs, truth = scores.probs[:, first:], scores.truth[:, first:]
    space = tuple(range(2, probs.dim()))
    dims = space if per_sample else (0, *space)
    overlap = torch.where(truth, probs, 0.0).sum(dim=dims)
    predicted = (probs.square() if squared else probs).sum(dim=dims)
    labelled = truth.sum(dim=dims).to(probs.dtype)
    shape = (-1, probs.shape[1])
    return Counts(overlap.view(shape), predicted.view(shape), labelled.view(shape))


def mean_loss(ratio: Tensor, labelled: Tensor, absent: Absent) -> Tensor:
    """One minus the mean of per-class ratios under a policy for classes that are absent from the labels.

    Args:
        ratio: Overlap ratio in [0, 1] of each class, (N, C); for an absent class 1 / (1 + its false
            positives).
        labelled: Pixels of each class, (N, C).
        absent: ``penalise_fp`` counts the ratio as it is; ``skip`` leaves absent classes out of the mean;
            ``one`` counts them as perfect.
    """
    loss = 1 - ratio
    if absent == "penalise_fp":
        return loss.mean()
    present = labelled > 0
    total = torch.where(present, loss, 0.0).sum()
    return total / (present.sum().clamp(min=1) if absent == "skip" else loss.numel())
