"""Soft Jaccard loss."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.loss import LossTerm, Role
from search_spaces.region import Absent, mean_loss, smoothing, soft_counts
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("jaccard")
@dataclass(frozen=True, slots=True)
class Jaccard(LossTerm):
    """One minus the mean over classes of overlap / (predicted + labelled - overlap).

    Attributes:
        per_sample: Whether each sample has a ratio of its own; otherwise counts are summed over the batch.
        background: Whether class 0 takes part.
        absent: What a class without labelled pixels counts; see ``region.mean_loss``.

    Source: Rahman & Wang 2016, "Optimizing intersection-over-union in deep neural networks for image segmentation",
        Eq. 3-4, doi:10.1007/978-3-319-50835-1_22.
    Deviations: softmax over K classes; smoothing for absent classes only, as in ``dice``.
    """

    per_sample: bool = False
    background: bool = False
    absent: Absent = "penalise_fp"
    role: ClassVar[Role] = "region"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def value(self, scores: Scores) -> Tensor:
        counts = soft_counts(scores, squared=False, per_sample=self.per_sample, background=self.background)
        smooth = smoothing(counts)
        union = counts.predicted + counts.labelled - counts.overlap
        return mean_loss(1 - (counts.overlap + smooth) / (union + smooth), counts, self.absent)
