"""Topology prior: a class that lies inside another."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from search_spaces.errors import ShapeError, SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("topology")
@dataclass(frozen=True, slots=True)
class Topology(LossTerm):
    """Penalty where a class touches anything but the class that contains it: mean of p_inner(i) * p_other(j) over neighbours.

    i and j are neighbours along an axis; other classes are all but ``inner`` and ``outer``. So lumen lies within epithelium
    (containment), and is apart from stroma (detachment).

    Attributes:
        inner: The class that is contained, >= 0.
        outer: The class that contains it, >= 0.

    Source: BenTaieb & Hamarneh 2016, "Topology aware fully convolutional networks for histology gland segmentation", section
        2.2, doi:10.1007/978-3-319-46723-8_53.
    Deviations: the paper gives label vectors that break the hierarchy no probability at their pixel; where each pixel has one
        class, the same rule is one about neighbours, and as a product of probabilities it is smooth.
    """

    inner: int = 2
    outer: int = 1
    role: ClassVar[Role] = "regulariser"
    gradient_everywhere: ClassVar[bool] = False
    least_at_truth: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.inner < 0 or self.outer < 0 or self.inner == self.outer:
            raise SpaceError(
                f"topology: inner {self.inner} and outer {self.outer} given; two different classes >= 0 are allowed."
            )

    def value(self, scores: Scores) -> Tensor:
        classes = scores.logits.shape[1]
        if max(self.inner, self.outer) >= classes:
            raise ShapeError(
                f"topology: inner {self.inner} and outer {self.outer} given; classes under {classes} are allowed."
            )
        inner = scores.probs[:, self.inner]
        other = scores.valid.to(inner.dtype) - inner - scores.probs[:, self.outer]
        axes = range(1, inner.dim())
        touching = [
            inner.narrow(axis, here, inner.shape[axis] - 1)
            * other.narrow(axis, 1 - here, inner.shape[axis] - 1)
            for axis in axes
            for here in (0, 1)
        ]
        return torch.stack([part.sum() for part in touching]).sum() / (len(touching) * scores.num_valid)
