"""Mumford-Shah loss."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.blur import steepness
from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Need, Scores

NOTHING = 1e-6  # pixels under which a class has no mean


@entry("mumford_shah")
@dataclass(frozen=True, slots=True)
class MumfordShah(LossTerm):
    """How much the image varies within classes: E[sum_k p_k |x - c_k|^2] + length * E[sum_k |grad p_k|].

    c_k is the mean of the image over a class of a sample. It needs no label, and learns from unlabelled samples, too.

    Attributes:
        length: Weight of the contours, >= 0.

    Source: Kim & Ye 2020, "Mumford-Shah loss functional for image segmentation with deep learning", Eq. 9-10,
        arXiv:1904.02872; the survey's Eq. 29-30.
    Deviations: means over pixels and channels instead of sums; a class without pixels is kept from dividing by 0.
    """

    length: float = 0.1
    role: ClassVar[Role] = "regulariser"
    gradient_everywhere: ClassVar[bool] = False
    least_at_truth: ClassVar[bool] = False
    unlabelled: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset({"image"})

    def __post_init__(self) -> None:
        if not 0 <= self.length < math.inf:
            raise SpaceError(f"mumford_shah.length: {self.length} given; finite numbers >= 0 are allowed.")

    def value(self, scores: Scores) -> Tensor:
        seen = scores.seen.unsqueeze(1)
        probs = scores.softmax * seen
        masses = probs.flatten(2)  # (N, K, P)
        image = (scores.image * seen).flatten(2)  # (N, C, P)
        total = masses.sum(2).clamp(min=NOTHING).unsqueeze(2)
        means = masses @ image.transpose(1, 2) / total  # (N, K, C)
        squares = masses @ image.square().transpose(1, 2)
        spread = (
            (squares - 2 * means * (masses @ image.transpose(1, 2)) + means.square() * total).sum(1).mean(1)
        )
        contours = steepness(probs, spacing=scores.spacing).sum()
        return (spread.sum() + self.length * contours) / scores.seen.sum()
