"""Focal Tversky loss."""

from dataclasses import asdict, dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.codec import canonical, entry_from_json
from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.region import Absent, concave_power, mean_loss, smoothing, soft_counts
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("focal_tversky")
@dataclass(frozen=True, slots=True)
class FocalTversky(LossTerm):
    """Mean over classes of (1 - Tversky index)^(1 / gamma).

    Attributes:
        gamma: In [1, 3]; above 1 hard classes count more. 1 is the Tversky loss.
        beta: Weight of false positives in the index, in (0, 1); false negatives have 1 - beta.
        per_sample: Whether each sample has an index of its own; otherwise counts are summed over the batch.
        background: Whether class 0 takes part.
        absent: What a class without labelled pixels counts; see ``region.mean_loss``.

    Source: Abraham & Khan 2019, "A novel focal Tversky loss function with improved attention U-Net for lesion segmentation",
        Eq. 3-4, arXiv:1810.07842.
    Deviations: softmax over K classes; mean instead of sum over classes; below 1e-6 the power goes on as a straight line, as
        its slope is infinite at 0; smoothing for absent classes only, as in ``tversky``.
    """

    gamma: float = 4 / 3  # the paper's
    beta: float = 0.3  # the paper's
    per_sample: bool = False
    background: bool = False
    absent: Absent = "penalise_fp"
    role: ClassVar[Role] = "region"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not 1 <= self.gamma <= 3:
            raise SpaceError(f"focal_tversky.gamma: {self.gamma} given; numbers from 1 to 3 are allowed.")
        if not 0 < self.beta < 1:
            raise SpaceError(f"focal_tversky.beta: {self.beta} given; numbers between 0 and 1 are allowed.")

    def canonical(self) -> LossTerm:
        """Without focus it is the Tversky loss."""
        if self.gamma != 1:
            return self
        given = {name: value for name, value in asdict(self).items() if name != "gamma"}
        return canonical(entry_from_json(LossTerm, {"kind": "tversky"} | given))

    def value(self, scores: Scores) -> Tensor:
        counts = soft_counts(scores, squared=False, per_sample=self.per_sample, background=self.background)
        smooth = smoothing(counts) / 2
        false_positive = counts.predicted - counts.overlap
        false_negative = counts.labelled - counts.overlap
        wrong = self.beta * false_positive + (1 - self.beta) * false_negative
        index = (counts.overlap + smooth) / (counts.overlap + wrong + smooth)
        return mean_loss(concave_power((1 - index).clamp(min=0), 1 / self.gamma), counts, self.absent)
