"""Exponential-logarithmic loss."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.region import concave_power, mean_loss, soft_counts
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("exponential_logarithmic")
@dataclass(frozen=True, slots=True)
class ExponentialLogarithmic(LossTerm):
    """dice_share * E_c[(-ln D_c)^gamma] + (1 - dice_share) * E_x[w (-ln p)^gamma].

    D_c is the smoothed Dice coefficient of class c, p the probability of a pixel's label and w the square root of all labelled
    pixels over those of its class.

    Attributes:
        gamma: Exponent of both parts, in (0, 2].
        dice_share: Weight of the Dice part, in (0, 1).
        smooth: Pixels added above and below in D, > 0.
        per_sample: Whether D and w are measured in each sample; otherwise over the batch.
        background: Whether class 0 has a D.

    Source: Wong et al. 2018, "3D segmentation with exponential logarithmic loss for highly unbalanced object sizes",
        Eq. 1-4, arXiv:1809.00076; the survey's Eq. 12-14 miss w.
    Deviations: class frequencies are those of the batch, not of the training set; one gamma, as the paper uses; below 1e-6
        powers go on as straight lines, as their slope is infinite at 0.
    """

    gamma: float = 0.3  # the paper's best, section 3.2
    dice_share: float = 0.8  # the paper's
    smooth: float = 1.0  # the paper's epsilon
    per_sample: bool = False
    background: bool = True
    role: ClassVar[Role] = "region"

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 2:
            raise SpaceError(
                f"exponential_logarithmic.gamma: {self.gamma} given; numbers in (0, 2] are allowed."
            )
        if not 0 < self.dice_share < 1:
            raise SpaceError(
                f"exponential_logarithmic.dice_share: {self.dice_share} given; numbers between 0 and 1 are allowed."
            )
        if not 0 < self.smooth <= 100:
            raise SpaceError(
                f"exponential_logarithmic.smooth: {self.smooth} given; numbers in (0, 100] are allowed."
            )

    def value(self, scores: Scores) -> Tensor:
        counts = soft_counts(scores, squared=False, per_sample=self.per_sample, background=self.background)
        overlap = 2 * counts.overlap + self.smooth
        coefficient = (overlap / (counts.predicted + counts.labelled + self.smooth)).clamp(max=1)
        dice = mean_loss(concave_power(-coefficient.log(), self.gamma), counts, "penalise_fp")
        pixels = soft_counts(scores, squared=False, per_sample=self.per_sample, background=True).labelled
        rarity = (pixels.sum(1, keepdim=True) / pixels.clamp(min=1)).sqrt()  # (N or 1, K)
        weights = rarity.expand(len(scores.labels), -1).gather(1, scores.labels.flatten(1))
        cross = weights * concave_power(scores.cross_entropy, self.gamma).flatten(1)
        mean = torch.where(scores.valid.flatten(1), cross, 0.0).sum() / scores.num_valid
        return self.dice_share * dice + (1 - self.dice_share) * mean
