"""Conservative loss."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Scores

LEAST = 1e-4  # probabilities are kept this far from 0 and 1, where the loss is infinite


@entry("conservative")
@dataclass(frozen=True, slots=True)
class Conservative(LossTerm):
    """Mean of (1 + ln p)^2 * |ln(-ln p)|: a penalty for labels that are very sure or very unlikely.

    Its least value, 0, is at p = 1/e, under one half: alone it learns nothing. A small part of it beside cross-entropy keeps
    networks from fitting one domain too well.

    Source: Zhu et al. 2018, "Penalizing top performers: conservative loss for semantic segmentation adaptation",
        arXiv:1809.00903; the survey's Eq. 19 without the bars falls without limit as p nears 1.
    Deviations: the bars follow from the abstract, as the equation could not be read in the original; the factor lambda is the
        term's weight; p is kept within [1e-4, 1 - 1e-4].
    """

    role: ClassVar[Role] = "regulariser"
    gradient_everywhere: ClassVar[bool] = False
    least_at_truth: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 150.0)  # (1 + ln 1e-4)^2 * ln(-ln 1e-4) = 149.7

    def value(self, scores: Scores) -> Tensor:
        surprise = scores.cross_entropy.clamp(-math.log1p(-LEAST), -math.log(LEAST))
        return scores.mean((1 - surprise).square() * surprise.log().abs())
