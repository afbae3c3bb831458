"""Contour regression."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.blur import gaussian_blur, steepness
from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("contour")
@dataclass(frozen=True, slots=True)
class Contour(LossTerm):
    """Mean squared difference of smoothed contours of prediction and label, over valid pixels and classes.

    A contour is the length of the gradient of a class map, smoothed by a Gaussian.

    Attributes:
        sigma: Deviation of the Gaussian in the unit of the data set's spacing, > 0.

    Source: Zhou et al. 2019, "High-resolution encoder-decoder networks for low-contrast medical image segmentation", which
        regresses a border map smoothed by a Gaussian; the equation could not be read in the original.
    Deviations: the contour is taken from the mask's probabilities by differences, as networks here have no head for it; mean
        instead of sum.
    """

    sigma: float = 2.0
    role: ClassVar[Role] = "boundary"
    gradient_everywhere: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise SpaceError(f"contour.sigma: {self.sigma} given; finite numbers > 0 are allowed.")

    def value(self, scores: Scores) -> Tensor:
        probs = scores.probs[:, 1:]
        truth = scores.truth[:, 1:].to(probs.dtype)
        spacing = scores.spacing
        difference = steepness(probs, spacing=spacing) - steepness(truth, spacing=spacing)
        smooth = gaussian_blur(difference, sigma=self.sigma, spacing=spacing)
        return scores.mean(smooth.square().mean(1))
