"""Cross-entropy balanced by how rare a class is."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from search_spaces.codec import entry_from_json
from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.region import soft_counts
from search_spaces.register import entry
from search_spaces.scores import Scores

LEAST = 0.05  # of a weight: a sample of one class would have weight 0, and no gradient
NOTHING = 1e-6  # less than any weight: stands for the weight of no pixel


@entry("balanced_cross_entropy")
@dataclass(frozen=True, slots=True)
class BalancedCrossEntropy(LossTerm):
    """Mean of -log p weighted by beta for labels of a class and 1 - beta for the others.

    Attributes:
        scope: ``sample`` weighs a class by the share of the sample's valid pixels that it does not hold, at least 0.05;
            ``fixed`` by ``beta``.
        beta: Weight of all classes but 0, in (0, 1), where it is fixed; class 0 has 1 - beta.

    Source: Xie & Tu 2015, "Holistically-nested edge detection", Eq. 2, arXiv:1504.06375; the survey's Eq. 5.
    Deviations: K classes, whose weights are each one minus their share; weights are kept off 0; divided by the sum of weights,
        each sample by its own, where the paper sums.
    """

    scope: Literal["sample", "fixed"] = "sample"
    beta: float = 0.5
    role: ClassVar[Role] = "distribution"

    def __post_init__(self) -> None:
        if not 0 < self.beta < 1:
            raise SpaceError(
                f"balanced_cross_entropy.beta: {self.beta} given; numbers between 0 and 1 are allowed."
            )
        if self.scope == "sample" and self.beta != 0.5:
            raise SpaceError(
                f"balanced_cross_entropy.beta: {self.beta} has no effect with scope 'sample'; leave it out."
            )

    def canonical(self) -> LossTerm:
        """With a fixed beta it is a weighted cross-entropy."""
        if self.scope == "sample":
            return self
        kind, weights = "weighted_cross_entropy", [1.0, self.beta / (1 - self.beta)]
        return entry_from_json(LossTerm, {"kind": kind, "weights": weights})

    def value(self, scores: Scores) -> Tensor:
        samples, classes = scores.logits.shape[:2]
        if self.scope == "fixed":
            weights = scores.logits.new_full((samples, classes), self.beta)
            weights[:, 0] = 1 - self.beta
        else:
            counts = soft_counts(scores, squared=False, per_sample=True, background=True).labelled
            weights = (1 - counts / counts.sum(1, keepdim=True).clamp(min=1)).clamp(LEAST, 1 - LEAST)
        of_pixel = weights.gather(1, scores.labels.flatten(1)) * scores.valid.flatten(1)
        losses, totals = (of_pixel * scores.cross_entropy.flatten(1)).sum(1), of_pixel.sum(1)
        if self.scope == "fixed":
            return losses.sum() / totals.sum().clamp(min=NOTHING)
        return (losses / totals.clamp(min=NOTHING)).sum() / (totals > 0).sum().clamp(min=1)
