"""Hausdorff loss by erosions."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from search_spaces.blur import cross_mean
from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("hausdorff_erosion")
@dataclass(frozen=True, slots=True)
class HausdorffErosion(LossTerm):
    """Mean over valid pixels and classes of sum_k k^alpha E_k / sum_k k^alpha; E_k is the error (t - p)^2 eroded k times.

    An erosion is the mean over a cross, less one half, cut at 0 and stretched to [0, 1]: what stays after many is thick. While
    all probabilities lie near one half nothing is left of the error and there is no gradient: use it late.

    Attributes:
        alpha: Exponent of the number of erosions, in [0, 4].
        erosions: How often the error is eroded, from 1 to 20.
        background: Whether class 0 takes part.

    Source: Karimi & Salcudean 2019, "Reducing the Hausdorff distance in medical image segmentation with convolutional neural
        networks", Eq. 11-12, arXiv:1904.10030.
    Deviations: K classes, averaged; divided by the sum of weights, so that it lies in [0, 1]; erosions count pixels, whatever
        their spacing.
    """

    alpha: float = 2.0  # the paper's
    erosions: int = 10  # the paper's
    background: bool = False
    role: ClassVar[Role] = "boundary"
    gradient_everywhere: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 4:
            raise SpaceError(f"hausdorff_erosion.alpha: {self.alpha} given; numbers from 0 to 4 are allowed.")
        if not 1 <= self.erosions <= 20:
            raise SpaceError(
                f"hausdorff_erosion.erosions: {self.erosions} given; whole numbers from 1 to 20 are allowed."
            )

    def value(self, scores: Scores) -> Tensor:
        first = 0 if self.background else 1
        error = (scores.probs[:, first:] - scores.truth[:, first:].to(scores.probs.dtype)).square()
        weights = [float(k) ** self.alpha for k in range(1, self.erosions + 1)]
        total = torch.zeros_like(error)
        for weight in weights:
            eroded = (cross_mean(error) - 0.5).clamp(min=0)
            flat = eroded.flatten(2)
            low, high = flat.amin(2, keepdim=True), flat.amax(2, keepdim=True)
            height = torch.where(high > low, high - low, 1.0)
            shift = torch.where(high > low, low, 0.0)
            error = ((flat - shift) / height).view_as(error)
            total = total + weight * error
        return scores.mean(total.mean(1)) / math.fsum(weights)
