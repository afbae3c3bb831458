"""Cross-entropy."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("cross_entropy")
@dataclass(frozen=True, slots=True)
class CrossEntropy(LossTerm):
    """Mean negative log-probability of the label over valid pixels.

    Attributes:
        smoothing: Share of the label spread evenly over all classes, in [0, 1); with it the least value is
            above 0.

    Source: Szegedy et al. 2016, "Rethinking the inception architecture for computer vision", section 7,
        arXiv:1512.00567 (smoothing).
    Deviations: none.
    """

    smoothing: float = 0.0
    role: ClassVar[Role] = "distribution"

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise SpaceError(
                f"cross_entropy.smoothing: {self.smoothing} given; numbers in [0, 1) are allowed."
            )

    def value(self, scores: Scores) -> Tensor:
        if self.smoothing == 0:
            return scores.mean_cross_entropy()
        return scores.mean(
            F.cross_entropy(scores.logits, scores.labels, reduction="none", label_smoothing=self.smoothing)
        )
