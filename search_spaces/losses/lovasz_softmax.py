"""Lovász-softmax loss."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.loss import Cost, LossTerm, Role
from search_spaces.lovasz import lovasz
from search_spaces.region import Absent, mean_loss, soft_counts
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("lovasz_softmax")
@dataclass(frozen=True, slots=True)
class LovaszSoftmax(LossTerm):
    """Mean over classes of the Lovász extension of the Jaccard loss at the errors |t - p|.

    Attributes:
        per_sample: Whether each sample has a loss of its own; otherwise the batch is one set of pixels.
        background: Whether class 0 takes part.
        absent: What a class without labelled pixels counts; its loss is its largest error. ``skip`` is the paper's choice.

    Source: Berman et al. 2018, "The Lovász-softmax loss", Eq. 11-12, arXiv:1705.08790.
    Deviations: those of ``lovasz``.
    """

    per_sample: bool = False
    background: bool = True
    absent: Absent = "skip"
    role: ClassVar[Role] = "region"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    cost: ClassVar[Cost] = "sort"

    def value(self, scores: Scores) -> Tensor:
        first = 0 if self.background else 1
        losses = lovasz(scores.softmax, scores, hinge=False, per_sample=self.per_sample, first=first)
        counts = soft_counts(scores, squared=False, per_sample=self.per_sample, background=self.background)
        return mean_loss(losses, counts, self.absent)
