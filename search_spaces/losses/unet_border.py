"""Cross-entropy with U-Net's weight map."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Need, Scores


@entry("unet_border")
@dataclass(frozen=True, slots=True)
class UNetBorder(LossTerm):
    """Mean of w * -log p over valid pixels, with w = 1 + strength * exp(-(d1 + d2)^2 / (2 width^2)).

    d1 and d2 are the distances to the two nearest objects, so that thin walls between objects weigh most.

    Attributes:
        strength: w0 of the paper, > 0.
        width: sigma of the paper, > 0, in the unit of the data set's spacing.

    Source: Ronneberger et al. 2015, "U-Net", Eq. 2, arXiv:1505.04597; the survey's Eq. 6 adds the map where it multiplies.
    Deviations: the mean over valid pixels instead of the sum; the class weight w_c is 1; weigh classes by another term.
    """

    strength: float = 10.0  # the paper's
    width: float = 5.0  # the paper's, about pixels
    role: ClassVar[Role] = "boundary"
    needs: ClassVar[frozenset[Need]] = frozenset({"neighbours"})

    def __post_init__(self) -> None:
        for name, value in (("strength", self.strength), ("width", self.width)):
            if not 0 < value < math.inf:
                raise SpaceError(f"unet_border.{name}: {value} given; finite numbers > 0 are allowed.")

    def value(self, scores: Scores) -> Tensor:
        nearness = (-(scores.neighbours**2) / (2 * self.width**2)).exp()
        return ((1 + self.strength * nearness) * scores.cross_entropy).sum() / scores.num_valid
