"""Combo loss."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.region import Absent, mean_loss, smoothing, soft_counts
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("combo")
@dataclass(frozen=True, slots=True)
class Combo(LossTerm):
    """alpha * E[-beta t ln p - (1 - beta) (1 - t) ln(1 - p)] + (1 - alpha) * (1 - Dice), over all classes but 0.

    Attributes:
        alpha: Share of the cross-entropy, in (0, 1).
        beta: Weight of misses, in (0, 1); false alarms have 1 - beta.
        per_sample: Whether each sample has a Dice of its own; otherwise counts are summed over the batch.
        absent: What a class without labelled pixels counts in the Dice; see ``region.mean_loss``.

    Source: Taghanaki et al. 2019, "Combo loss: handling input and output imbalance in multi-organ segmentation",
        Eq. 3, arXiv:1805.02798; the survey's Eq. 31 misses a minus.
    Deviations: softmax over K classes, each against the rest; one minus Dice instead of minus Dice, so that the least value is
        0; mean instead of sum over classes.
    """

    alpha: float = 0.5  # the paper's
    beta: float = 0.5
    per_sample: bool = False
    absent: Absent = "penalise_fp"
    role: ClassVar[Role] = "region"

    def __post_init__(self) -> None:
        for name, value in (("alpha", self.alpha), ("beta", self.beta)):
            if not 0 < value < 1:
                raise SpaceError(f"combo.{name}: {value} given; numbers between 0 and 1 are allowed.")

    def value(self, scores: Scores) -> Tensor:
        truth, right, wrong = (part[:, 1:] for part in (scores.truth, scores.log_probs, scores.log_wrong))
        losses = -torch.where(truth, self.beta * right, (1 - self.beta) * wrong)
        counts = soft_counts(scores, squared=False, per_sample=self.per_sample, background=False)
        smooth = smoothing(counts)
        ratio = (2 * counts.overlap + smooth) / (counts.predicted + counts.labelled + smooth)
        dice = mean_loss(1 - ratio, counts, self.absent)
        return self.alpha * scores.mean(losses.mean(1)) + (1 - self.alpha) * dice
