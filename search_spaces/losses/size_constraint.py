"""Size constraint."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.region import soft_counts
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("size_constraint")
@dataclass(frozen=True, slots=True)
class SizeConstraint(LossTerm):
    """Squared distance of a class's soft size from the interval [1 - slack, 1 + slack] times its size, in shares of the sample.

    A class that is absent shall have size 0. Where masks are right in size nothing is said about their place.

    Attributes:
        slack: Half the width of the interval relative to the label's size, in [0, 1).

    Source: Kervadec et al. 2019, "Constrained-CNN losses for weakly supervised segmentation", Eq. 2, arXiv:1805.04628.
    Deviations: bounds come from the label's size, as labels here are whole; sizes in shares of the sample's valid pixels, as
        squared pixels grow with the image; mean over samples and classes.
    """

    slack: float = 0.1  # the paper's, section 4.1
    role: ClassVar[Role] = "regulariser"
    gradient_everywhere: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not 0 <= self.slack < 1:
            raise SpaceError(f"size_constraint.slack: {self.slack} given; numbers in [0, 1) are allowed.")

    def value(self, scores: Scores) -> Tensor:
        counts = soft_counts(scores, squared=False, per_sample=True, background=False)
        pixels = scores.valid.flatten(1).sum(1, keepdim=True).clamp(min=1)
        size, wanted = counts.predicted / pixels, counts.labelled / pixels
        excess = (size - (1 + self.slack) * wanted).clamp(min=0) + ((1 - self.slack) * wanted - size).clamp(
            min=0
        )
        used = counts.used.sum().clamp(min=1)
        return torch.where(counts.used, excess.square(), 0.0).mean(1).sum() / used
