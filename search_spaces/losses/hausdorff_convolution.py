"""Hausdorff loss by convolutions with balls."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from search_spaces.blur import ball_means
from search_spaces.errors import SpaceError
from search_spaces.loss import Cost, LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("hausdorff_convolution")
@dataclass(frozen=True, slots=True)
class HausdorffConvolution(LossTerm):
    """How large the balls are that fit into errors: sum_r r^alpha * M_r / sum_r r^alpha.

    M_r is the mean over valid pixels and classes of (t - p)^2 * [p * (f(1 - B_r t) + f(B_r p)) + t * (f(B_r t) +
    f(1 - B_r p))]; B_r is the mean over a ball of radius r and f(x) = max(0, 2 x - 1) keeps balls that lie mostly in a set.

    Attributes:
        radii: Radii in the unit of the data set's spacing, > 0, rising.
        alpha: Exponent of the radius, in [0, 4].
        background: Whether class 0 takes part.

    Source: Karimi & Salcudean 2019, "Reducing the Hausdorff distance in medical image segmentation with convolutional neural
        networks", Eq. 16, arXiv:1904.10030.
    Deviations: divided by the sum of weights; K classes, averaged; the soft threshold at one half is stretched to [0, 1];
        Fourier transforms instead of direct convolutions; the ground outside the image belongs to no class.
    """

    radii: tuple[float, ...] = (3.0, 6.0, 9.0, 12.0, 15.0, 18.0)  # the paper's, about pixels
    alpha: float = 2.0  # the paper's
    background: bool = False
    role: ClassVar[Role] = "boundary"
    gradient_everywhere: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 2.0)
    cost: ClassVar[Cost] = "distance"

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.radii, self.radii[1:], strict=False))
        if not self.radii or not self.radii[0] > 0 or not self.radii[-1] < 1e3 or not rising:
            raise SpaceError(
                f"hausdorff_convolution.radii: {self.radii} given; at least one, rising numbers in (0, 1000) are allowed."
            )
        if not 0 <= self.alpha <= 4:
            raise SpaceError(
                f"hausdorff_convolution.alpha: {self.alpha} given; numbers from 0 to 4 are allowed."
            )

    def value(self, scores: Scores) -> Tensor:
        first = 0 if self.background else 1
        probs = scores.probs[:, first:]
        truth = scores.truth[:, first:].to(probs.dtype)
        error = (truth - probs).square()
        with torch.no_grad():
            fits_truth, fits_outside = self._fits(truth, scores)
        fits_probs, fits_rest = self._fits(probs, scores)
        total = probs * (fits_outside + fits_probs) + truth * (fits_truth + fits_rest)
        return scores.mean((error * total).mean(1))

    def _fits(self, maps: Tensor, scores: Scores) -> tuple[Tensor, Tensor]:
        """Weighted means over radii of f(B_r m) and f(1 - B_r m), each (N, C, *S)."""
        weights = maps.new_tensor(self.radii) ** self.alpha
        weights = weights / weights.sum()
        side = 2 * ball_means(maps, radii=self.radii, spacing=scores.spacing) - 1  # (R, N, C, *S)
        inside, outside = side.clamp(min=0), (-side).clamp(min=0)
        return torch.tensordot(weights, inside, dims=1), torch.tensordot(weights, outside, dims=1)
