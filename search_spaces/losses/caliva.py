"""Cross-entropy weighted by the distance to the border."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Need, Scores


@entry("caliva")
@dataclass(frozen=True, slots=True)
class Caliva(LossTerm):
    """Mean of (1 + strength * (1 - d / max d)) * -log p over valid pixels; d is a pixel's distance to another class.

    Attributes:
        strength: Added weight at the border, > 0; it falls to 0 where the pixel is farthest from it.

    Source: Caliva et al. 2019, "Distance map loss penalty term for semantic segmentation", arXiv:1908.03679.
    Deviations: the reversed distance map is divided by its largest value in the sample, as pixels would make its weight
        grow with the size of objects; samples of one class have weight 1.
    """

    strength: float = 1.0
    role: ClassVar[Role] = "boundary"
    needs: ClassVar[frozenset[Need]] = frozenset({"distance"})

    def __post_init__(self) -> None:
        if not 0 < self.strength < math.inf:
            raise SpaceError(f"caliva.strength: {self.strength} given; finite numbers > 0 are allowed.")

    def value(self, scores: Scores) -> Tensor:
        own = scores.distance.gather(1, scores.labels.unsqueeze(1)).squeeze(1)  # (N, *S), <= 0
        depth = (own * scores.valid).neg().flatten(1)
        largest = depth.amax(1, keepdim=True)
        nearness = (1 - depth / largest.clamp(min=1e-6)) * (largest > 0)
        weights = 1 + self.strength * nearness.view_as(own)
        return (weights * scores.cross_entropy).sum() / scores.num_valid
