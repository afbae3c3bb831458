"""Cross-entropy with a weight for each class."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from search_spaces.codec import entry_from_json
from search_spaces.errors import ShapeError, SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("weighted_cross_entropy")
@dataclass(frozen=True, slots=True)
class WeightedCrossEntropy(LossTerm):
    """Mean of -log p over valid pixels, weighted by the class of the label.

    Attributes:
        weights: Weight of each class, > 0; the last one stands for all further classes, so that (1, 5) weighs every class but
            the background five times.

    Source: Ronneberger et al. 2015, "U-Net", section 3, arXiv:1505.04597 (weights w_c); the survey's Eq. 4, whose beta is
        the weight of class 1.
    Deviations: divided by the sum of weights, as torch does, so that a common factor changes nothing.
    """

    weights: tuple[float, ...] = (1.0, 2.0)
    role: ClassVar[Role] = "distribution"

    def __post_init__(self) -> None:
        if not self.weights or not all(0 < weight < math.inf for weight in self.weights):
            raise SpaceError(
                f"weighted_cross_entropy.weights: {self.weights} given; finite numbers > 0, at least one, are allowed."
            )

    def canonical(self) -> LossTerm:
        """With equal weights it is cross-entropy; else the first weight is 1 and no weight repeats at the end."""
        if len(set(self.weights)) == 1:
            return entry_from_json(LossTerm, {"kind": "cross_entropy"})
        weights = tuple(weight / self.weights[0] for weight in self.weights)
        while weights[-1] == weights[-2]:
            weights = weights[:-1]
        return self if weights == self.weights else WeightedCrossEntropy(weights)

    def value(self, scores: Scores) -> Tensor:
        classes = scores.logits.shape[1]
        if len(self.weights) > classes:
            raise ShapeError(
                f"weighted_cross_entropy.weights: {len(self.weights)} weights given for {classes} classes; leave some out."
            )
        weights = self.weights + self.weights[-1:] * (classes - len(self.weights))
        return scores.mean_cross_entropy(torch.tensor(weights, device=scores.target.device))
