"""Active contour loss."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.blur import steepness
from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("active_contour")
@dataclass(frozen=True, slots=True)
class ActiveContour(LossTerm):
    """Length of the contour plus soft errors: E[|grad p|] + region * E[p (1 - t) + (1 - p) t], over all classes but 0.

    The length is least for an empty mask, so that small objects vanish where its weight is high.

    Attributes:
        region: Weight of the errors against the length, >= 0; 0 leaves the length alone (total variation).

    Source: Chen et al. 2019, "Learning active contour models for medical image segmentation", Eq. 5-8, CVPR; the authors' code
        takes the label as the image, 1 and 0 as its means, and means instead of sums.
    Deviations: K classes, averaged; p and 1 - p times squared errors of a label in {0, 1} are written as soft errors, which is
        the same.
    """

    region: float = 1.0
    role: ClassVar[Role] = "regulariser"
    gradient_everywhere: ClassVar[bool] = False
    least_at_truth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.region < math.inf:
            raise SpaceError(f"active_contour.region: {self.region} given; finite numbers >= 0 are allowed.")

    def value(self, scores: Scores) -> Tensor:
        probs = scores.probs[:, 1:]
        length = steepness(probs, spacing=scores.spacing)
        errors = (probs - scores.truth[:, 1:].to(probs.dtype)).abs()
        return scores.mean((length + self.region * errors).mean(1))
