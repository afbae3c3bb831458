"""Tversky loss."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.codec import entry_from_json
from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.region import Absent, mean_loss, smoothing, soft_counts
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("tversky")
@dataclass(frozen=True, slots=True)
class Tversky(LossTerm):
    """One minus the mean over classes of overlap / (overlap + beta * FP + (1 - beta) * FN).

    Attributes:
        beta: Weight of false positives, in (0, 1); under one half, misses cost more than false alarms. One
            half is Dice.
        per_sample: Whether each sample has a ratio of its own; otherwise counts are summed over the batch.
        background: Whether class 0 takes part.
        absent: What a class without labelled pixels counts; see ``region.mean_loss``.

    Source: Salehi et al. 2017, "Tversky loss function for image segmentation using 3D fully convolutional
        deep networks", Eq. 3-4, arXiv:1706.05721.
    Deviations: softmax over K classes; the two weights sum to one; smoothing for absent classes only, as in
        ``dice``.
    """

    beta: float = 0.3  # the paper's best, section 4
    per_sample: bool = False
    background: bool = False
    absent: Absent = "penalise_fp"
    role: ClassVar[Role] = "region"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not 0 < self.beta < 1:
            raise SpaceError(f"tversky.beta: {self.beta} given; numbers between 0 and 1 are allowed.")

    def canonical(self) -> LossTerm:
        """With equal weights it is Dice."""
        if self.beta != 0.5:
            return self
        shared = {"per_sample": self.per_sample, "background": self.background, "absent": self.absent}
        return entry_from_json(LossTerm, {"kind": "dice"} | shared)

    def value(self, scores: Scores) -> Tensor:
        counts = soft_counts(scores, squared=False, per_sample=self.per_sample, background=self.background)
        smooth = smoothing(counts) / 2  # half a pixel here is one pixel in Dice
        false_positive = counts.predicted - counts.overlap
        false_negative = counts.labelled - counts.overlap
        wrong = self.beta * false_positive + (1 - self.beta) * false_negative
        ratio = (counts.overlap + smooth) / (counts.overlap + wrong + smooth)
        return mean_loss(1 - ratio, counts, self.absent)
