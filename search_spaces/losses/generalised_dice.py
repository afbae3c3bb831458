"""Generalised Dice loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from search_spaces.loss import LossTerm, Role
from search_spaces.region import soft_counts
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("generalised_dice")
@dataclass(frozen=True, slots=True)
class GeneralisedDice(LossTerm):
    """1 - 2 sum_c w_c overlap_c / sum_c w_c (predicted_c + labelled_c) with w_c = 1 / labelled_c^2.

    Attributes:
        per_sample: Whether each sample has a ratio of its own; otherwise counts are summed over the batch.
        background: Whether class 0 takes part.
        absent: Weight of classes without labelled pixels: ``penalise_fp`` gives them the largest of the others, ``skip``
            none.

    Source: Sudre et al. 2017, "Generalised Dice overlap as a deep learning loss function for highly unbalanced
        segmentations", section 2.2, arXiv:1707.03237.
    Deviations: weights are divided by their largest before anything is added to them, so that the value does not depend
        on the size of the image; smoothing of one pixel only where no class has labelled pixels.
    """

    per_sample: bool = True
    background: bool = True
    absent: Literal["penalise_fp", "skip"] = "penalise_fp"
    role: ClassVar[Role] = "region"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def value(self, scores: Scores) -> Tensor:
        counts = soft_counts(scores, squared=False, per_sample=self.per_sample, background=self.background)
        present = counts.labelled > 0
        least = torch.where(present, counts.labelled, torch.inf).amin(1, keepdim=True)
        weights = torch.where(present, (least / counts.labelled.clamp(min=1)).square(), 0.0)
        if self.absent == "penalise_fp":
            weights = torch.where(present, weights, 1.0)
        smooth = (~present.any(1)).to(weights.dtype)  # (N,)
        overlap = 2 * (weights * counts.overlap).sum(1) + smooth
        total = (weights * (counts.predicted + counts.labelled)).sum(1) + smooth
        used = counts.used.squeeze(1)
        return torch.where(used, 1 - overlap / total, 0.0).sum() / used.sum().clamp(min=1)
