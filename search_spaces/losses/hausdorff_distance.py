"""Hausdorff loss by distance transforms."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from search_spaces.errors import SpaceError
from search_spaces.loss import Cost, LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Need, Scores


@entry("hausdorff_distance")
@dataclass(frozen=True, slots=True)
class HausdorffDistance(LossTerm):
    """Mean over valid pixels and classes of (t - p)^2 * (d_t^alpha + d_p^alpha).

    d_t and d_p are the distances to the borders of the label and of the prediction, p > 1/2.

    Attributes:
        alpha: Exponent of the distance, in [0.5, 4].
        background: Whether class 0 takes part.
        scaled: Whether distances are in units of the sample's diagonal; otherwise of the data set's spacing, as published.

    Source: Karimi & Salcudean 2019, "Reducing the Hausdorff distance in medical image segmentation with convolutional neural
        networks", Eq. 8, arXiv:1904.10030.
    Deviations: K classes, averaged; where a mask is empty or fills the sample, its border is a diagonal away, so that false
        positives on an empty label cost something; distances in diagonals.
    """

    alpha: float = 2.0  # the paper's
    background: bool = False
    scaled: bool = True
    role: ClassVar[Role] = "boundary"
    gradient_everywhere: ClassVar[bool] = False
    needs: ClassVar[frozenset[Need]] = frozenset({"distance", "prediction_distance"})
    cost: ClassVar[Cost] = "distance"

    def __post_init__(self) -> None:
        if not 0.5 <= self.alpha <= 4:
            raise SpaceError(
                f"hausdorff_distance.alpha: {self.alpha} given; numbers from 0.5 to 4 are allowed."
            )

    def value(self, scores: Scores) -> Tensor:
        first = 0 if self.background else 1
        probs, truth = scores.probs[:, first:], scores.truth[:, first:]
        with torch.no_grad():
            masks = probs > 0.5
            predicted = scores.distances(masks.flatten(0, 1)).view_as(probs)
            weights = self._weight(predicted, scores) + self._weight(scores.distance[:, first:], scores)
        return scores.mean(((probs - truth.to(probs.dtype)).square() * weights).mean(1))

    def _weight(self, distance: Tensor, scores: Scores) -> Tensor:
        unit = scores.diagonal if self.scaled else 1.0
        flat = distance.flatten(2)
        borderless = ((flat.amin(2) >= 0) & (flat.amax(2) <= 0)).view(
            *flat.shape[:2], *[1] * (distance.dim() - 2)
        )
        far = torch.where(borderless, scores.diagonal, distance.abs())
        return (far / unit) ** self.alpha
