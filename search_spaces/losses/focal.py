"""Focal loss."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.codec import entry_from_json
from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Scores

LEAST = 1e-12  # of 1 - p


@entry("focal")
@dataclass(frozen=True, slots=True)
class Focal(LossTerm):
    """Cross-entropy that turns down pixels the network already gets right: mean of (1 - p)^gamma * -log p.

    Attributes:
        gamma: Focusing parameter, >= 0; 0 is cross-entropy.

    Source: Lin et al. 2017, "Focal loss for dense object detection", Eq. 4, arXiv:1708.02002.
    Deviations: softmax over K classes instead of a sigmoid per class; mean over valid pixels instead of
        anchors, as there are no anchors in segmentation; 1 - p is at least 1e-12, so that the power has a slope
        for gamma < 1 at saturated pixels.
    """

    gamma: float = 2.0
    role: ClassVar[Role] = "distribution"

    def __post_init__(self) -> None:
        if not (0 <= self.gamma < math.inf):
            raise SpaceError(f"focal.gamma: {self.gamma} given; finite numbers >= 0 are allowed.")

    def canonical(self) -> LossTerm:
        """Without focus it is cross-entropy."""
        return self if self.gamma > 0 else entry_from_json(LossTerm, {"kind": "cross_entropy"})

    def value(self, scores: Scores) -> Tensor:
        log_right = scores.log_probs.gather(1, scores.labels.unsqueeze(1)).squeeze(1)  # (N, *S)
        wrong = (1 - log_right.exp()).clamp(min=LEAST)
        return scores.mean(-(wrong**self.gamma) * log_right)
