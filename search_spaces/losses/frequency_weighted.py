"""Cross-entropy with Roy's weights for rare classes and borders."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.region import soft_counts
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("frequency_weighted")
@dataclass(frozen=True, slots=True)
class FrequencyWeighted(LossTerm):
    """Mean of w * -log p over valid pixels, with w = median(f) / f_label + border * [the pixel touches another class].

    f is the share of each class in the labels of the batch, the median is over the classes that occur.

    Attributes:
        border: Added weight of pixels at borders, >= 0.
        most: Largest weight of a class, >= 1.

    Source: Roy et al. 2017, "Error corrective boosting for learning fully convolutional networks with limited data", section
        2.2, arXiv:1705.00938, and "ReLayNet", section 2.2, arXiv:1704.02161.
    Deviations: frequencies of the batch, not of the training set, and therefore a largest weight; the paper's border weight is
        2 median(f) / min(f), which a batch does not know well, so it is a number here; a border pixel has a
        neighbour of another class.
    """

    border: float = 5.0
    most: float = 20.0
    role: ClassVar[Role] = "distribution"

    def __post_init__(self) -> None:
        if not 0 <= self.border < math.inf:
            raise SpaceError(
                f"frequency_weighted.border: {self.border} given; finite numbers >= 0 are allowed."
            )
        if not 1 <= self.most < math.inf:
            raise SpaceError(f"frequency_weighted.most: {self.most} given; finite numbers >= 1 are allowed.")

    def value(self, scores: Scores) -> Tensor:
        counts = soft_counts(scores, squared=False, per_sample=False, background=True).labelled[0]  # (K,)
        present = counts > 0
        ordered = torch.where(present, counts, math.inf).sort().values
        middle = present.sum().clamp(min=1) - 1
        median = (ordered[middle // 2] + ordered[(middle + 1) // 2]) / 2
        weights = torch.where(present, median / counts.clamp(min=1), 0.0).clamp(max=self.most)
        of_pixel = weights[scores.labels] + self.border * _borders(scores)
        return (of_pixel * scores.cross_entropy).sum() / scores.num_valid


def _borders(scores: Scores) -> Tensor:
    """Valid pixels with a valid neighbour of another class along an axis, bool (N, *S)."""
    labels, valid = scores.labels, scores.valid
    found = torch.zeros_like(valid)
    for axis in range(1, labels.dim()):
        length = labels.shape[axis] - 1
        near, far = slice(0, length), slice(1, length + 1)
        before = (slice(None),) * axis
        other = labels[(*before, near)] != labels[(*before, far)]
        other = other & valid[(*before, near)] & valid[(*before, far)]
        found[(*before, near)] |= other
        found[(*before, far)] |= other
    return found
