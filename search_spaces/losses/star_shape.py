"""Star shape prior."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from search_spaces.errors import SpaceError
from search_spaces.loss import LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Scores


@entry("star_shape")
@dataclass(frozen=True, slots=True)
class StarShape(LossTerm):
    """Penalty where a class breaks off on the way to its centre: mean of [t_i = t_j] * |t_i - p_i| * |p_i - p_j|.

    j is a pixel between i and the centre of the class in the sample; the mean is over valid pixels, steps and classes that
    occur. It fits classes with one object of roughly convex shape in a sample.

    Attributes:
        reach: How many pixels of the line are looked at, from 1 to 16, each one pixel further.

    Source: Mirikharaji & Hamarneh 2018, "Star shape prior in fully convolutional networks for skin lesion segmentation",
        Eq. 3-4, arXiv:1806.08437.
    Deviations: the first pixels of the line instead of all; each is the pixel nearest to the line; K classes; mean instead
        of sum.
    """

    reach: int = 4
    role: ClassVar[Role] = "regulariser"
    gradient_everywhere: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not 1 <= self.reach <= 16:
            raise SpaceError(f"star_shape.reach: {self.reach} given; whole numbers from 1 to 16 are allowed.")

    def value(self, scores: Scores) -> Tensor:
        probs, truth = scores.probs[:, 1:].flatten(2), scores.truth[:, 1:].flatten(2)  # (N, C, P)
        valid = scores.valid.flatten(1).unsqueeze(1)
        size = scores.labels.shape[1:]
        grid = torch.stack(
            torch.meshgrid(*[torch.arange(n, device=probs.device) for n in size], indexing="ij"), -1
        ).view(-1, len(size))  # (P, D)
        mass = truth.sum(2)
        centre = truth.to(probs.dtype) @ grid.to(probs.dtype) / mass.clamp(min=1).unsqueeze(2)  # (N, C, D)
        way = centre.unsqueeze(2) - grid  # (N, C, P, D)
        length = way.norm(dim=3, keepdim=True)
        unit = way / length.clamp(min=1)
        error = (probs - truth.to(probs.dtype)).abs()
        total = torch.zeros_like(probs)
        for step in range(1, self.reach + 1):
            near = (grid + unit * step).round().long()
            index = torch.zeros_like(near[..., 0])
            for axis, n in enumerate(size):
                index = index * n + near[..., axis].clamp(0, n - 1)
            same = (
                (truth.gather(2, index) == truth)
                & valid.expand_as(truth).gather(2, index)
                & (length[..., 0] >= step)
            )
            total = total + same * error * (probs - probs.gather(2, index)).abs()
        present = (mass > 0).unsqueeze(2)
        counted = (valid & present).sum().clamp(min=1)
        return torch.where(valid & present, total, 0.0).sum() / (counted * self.reach)
