"""Boundary loss."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Need, Scores


@entry("boundary")
@dataclass(frozen=True, slots=True)
class Boundary(LossTerm):
    """Mean over valid pixels and classes of phi * p; phi is the signed distance to the class, negative inside.

    Attributes:
        background: Whether class 0 takes part.
        scaled: Whether distances are in units of the sample's diagonal; otherwise of the data set's spacing, as published.

    Source: Kervadec et al. 2019, "Boundary loss for highly unbalanced segmentation", Eq. 5, arXiv:1812.07032.
    Deviations: the mean instead of the integral, over K classes; both sides of the border are off by half a pixel, where the
        authors' code sets the inner side to 0, so that no pixel of the border is without gradient; distances in diagonals, so
        that the weight does not grow with the image. A class that is absent or fills the sample has phi = 0, as published:
        false positives there are left to other terms.
    """

    background: bool = False
    scaled: bool = True
    role: ClassVar[Role] = "boundary"
    gradient_everywhere: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (-float("inf"), float("inf"))
    needs: ClassVar[frozenset[Need]] = frozenset({"distance"})

    def value(self, scores: Scores) -> Tensor:
        first = 0 if self.background else 1
        probs, phi = scores.softmax[:, first:], scores.distance[:, first:]
        unit = scores.diagonal if self.scaled else 1.0
        return scores.mean((probs * phi).mean(1)) / unit
