"""Consistency under perturbations."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from search_spaces.loss import Cost, LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Need, Scores


@entry("consistency")
@dataclass(frozen=True, slots=True)
class Consistency(LossTerm):
    """Mean over pixels of the squared difference of two predictions of one image, one of them perturbed.

    It needs no label, and learns from unlabelled samples, too. Give it a ``gauss_ramp``, as early predictions are worth little.

    Source: Laine & Aila 2017, "Temporal ensembling for semi-supervised learning", section 2.1, arXiv:1610.02242; the survey's
        Eq. 20.
    Deviations: a pixel's prediction instead of an image's; the second prediction is moved back to the first's geometry before
        the difference; sum over classes, halved, so that it lies in [0, 1].
    """

    role: ClassVar[Role] = "regulariser"
    gradient_everywhere: ClassVar[bool] = False
    least_at_truth: ClassVar[bool] = False
    unlabelled: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[Need]] = frozenset({"second"})
    cost: ClassVar[Cost] = "forward"

    def value(self, scores: Scores) -> Tensor:
        squares = (scores.softmax - F.softmax(scores.second, dim=1)).square().sum(1) / 2
        return (squares * scores.seen).sum() / scores.seen.sum()
