"""Focal loss with a sigmoid for each class."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
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
    Deviations: mean over valid pixels and classes instead of anchors; its slope is written out and finite for
        gamma < 1.
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
        losses: Tensor = _FocalMap.apply(scores.logits, scores.labels, self.gamma, self.alpha)
        return scores.mean(losses)


class _FocalMap(torch.autograd.Function):
    """The loss of each pixel, (N, *S), with its slope written out: 1 - p_t is one sigmoid, from which all else follows."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, gamma: float, alpha: float | None) -> Tensor:
        side = torch.full_like(logits, -1.0).scatter_(1, labels.unsqueeze(1), 1.0)
        signed = logits * side
        wrong = torch.sigmoid(-signed)  # 1 - p_t
        surprise = (-signed).clamp(min=0) - torch.maximum(wrong, 1 - wrong).log()  # -log p_t, for any logit
        power = wrong**gamma
        losses = power * surprise
        slopes = -side * (gamma * losses * (1 - wrong) + power * wrong)
        if alpha is not None:
            weights = 0.5 + (alpha - 0.5) * side
            losses, slopes = losses * weights, slopes * weights
        ctx.save_for_backward(slopes)
        return losses.mean(1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (slopes,) = ctx.saved_tensors
        return slopes * (grads[0] / slopes.shape[1]).unsqueeze(1), None, None, None
