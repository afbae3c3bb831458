"""Focal loss with a sigmoid for each class."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("focal_one_vs_rest")
@dataclass(frozen=True, slots=True)
class FocalOneVsRest(LossTerm):
    """Mean over classes and valid pixels of alpha_t * (1 - p_t)^gamma * -log p_t, each class against the rest.

    The largest logit is still the prediction; the softmax of these logits is not calibrated.

    Attributes:
        gamma: Focusing parameter, >= 0.
        alpha: Weight of the right class, in (0, 1), the others have 1 - alpha; None weighs all alike by 1.

    Source: Lin et al. 2017, "Focal loss for dense object detection", Eq. 5, arXiv:1708.02002.
    Deviations: mean over valid pixels and classes instead of anchors; the power is taken in logarithms, so that its slope is
        finite for gamma < 1.
    """

    gamma: float = 2.0
    alpha: float | None = None
    role: ClassVar[Role] = "distribution"

    def __post_init__(self) -> None:
        if not (0 <= self.gamma < math.inf):
            raise SpaceError(f"focal_one_vs_rest.gamma: {self.gamma} given; finite numbers >= 0 are allowed.")
        if self.alpha is not None and not 0 < self.alpha < 1:
            raise SpaceError(
                f"focal_one_vs_rest.alpha: {self.alpha} given; numbers between 0 and 1, or none, are allowed."
            )

    def value(self, scores: Scores) -> Tensor:
        signed = torch.where(scores.truth, scores.logits, -scores.logits)
        losses = (self.gamma * F.logsigmoid(-signed)).exp() * -F.logsigmoid(signed)
        if self.alpha is not None:
            losses = torch.where(scores.truth, self.alpha, 1 - self.alpha) * losses
        return scores.mean(losses.mean(1))
