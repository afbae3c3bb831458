"""Soft Dice loss."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.loss import LossTerm, Role
from search_spaces.region import Absent, mean_loss, smoothing, soft_counts
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("dice")
@dataclass(frozen=True, slots=True)
class Dice(LossTerm):
    """One minus the mean over classes of 2 * overlap / (predicted + labelled).

    Attributes:
        squared: Whether probabilities are squared in the denominator, as in V-Net.
        per_sample: Whether each sample has a ratio of its own; otherwise counts are summed over the batch.
        background: Whether class 0 takes part.
        absent: What a class without labelled pixels counts; see ``region.mean_loss``.

    Source: Milletari et al. 2016, "V-Net", section 3, arXiv:1606.04797.
    Deviations: softmax over K classes; the L1 denominator beside the paper's squared one; smoothing of one
        pixel for absent classes only, none for others, so that small objects are not flattened.
    """

    squared: bool = False
    per_sample: bool = False
    background: bool = False
    absent: Absent = "penalise_fp"
    role: ClassVar[Role] = "region"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def value(self, scores: Scores) -> Tensor:
        counts = soft_counts(
            scores, squared=self.squared, per_sample=self.per_sample, background=self.background
        )
        smooth = smoothing(counts)
        ratio = (2 * counts.overlap + smooth) / (counts.predicted + counts.labelled + smooth)
        return mean_loss(1 - ratio, counts, self.absent)
