"""Lovász hinge loss."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.loss import Cost, LossTerm, Role
from search_spaces.lovasz import lovasz
from search_spaces.region import Absent, mean_loss, soft_counts
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("lovasz_hinge")
@dataclass(frozen=True, slots=True)
class LovaszHinge(LossTerm):
    """Mean over classes of the Lovász extension of the Jaccard loss at the hinge errors max(0, 1 - m).

    m is the log-odds of a class, log p - log(1 - p), at its own pixels, and minus that elsewhere. Pixels with m >= 1 have no
    gradient.

    Attributes:
        per_sample: Whether each sample has a loss of its own; otherwise the batch is one set of pixels.
        background: Whether class 0 takes part.
        absent: What a class without labelled pixels counts; its loss is its largest error.

    Source: Yu & Blaschko 2015, "Learning submodular losses with the Lovász hinge", Eq. 5; Berman et al. 2018, "The
        Lovász-softmax loss", Eq. 8, arXiv:1705.08790.
    Deviations: K classes, each against the rest by its log-odds, which for two classes is the difference of the logits; those
        of ``lovasz``.
    """

    per_sample: bool = False
    background: bool = False
    absent: Absent = "penalise_fp"
    role: ClassVar[Role] = "region"
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    cost: ClassVar[Cost] = "sort"

    def value(self, scores: Scores) -> Tensor:
        first = 0 if self.background else 1
        odds = scores.log_probs - scores.log_wrong
        losses = lovasz(odds, scores, hinge=True, per_sample=self.per_sample, first=first)
        counts = soft_counts(scores, squared=False, per_sample=self.per_sample, background=self.background)
        return mean_loss(losses, counts, self.absent)
