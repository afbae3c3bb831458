"""How the weight of a loss term changes while a network trains: a factor of the share of training that is done.

In shares of the full training and not in epochs, so that every rung of a search sees the same shape.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from search_spaces.errors import SpaceError


@dataclass(frozen=True, slots=True)
class Constant:
    """The factor 1 throughout."""

    kind: ClassVar[str] = "constant"

    def factor(self, fraction: float) -> float:
        return 1.0


@dataclass(frozen=True, slots=True)
class Linear:
    """From one factor to another in a straight line.

    Attributes:
        first: Factor at the start, >= 0.
        last: Factor at the end, >= 0.
    """

    first: float
    last: float
    kind: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        if not (0 <= self.first < math.inf and 0 <= self.last < math.inf and self.first + self.last > 0):
            raise SpaceError(
                f"linear: first {self.first} and last {self.last} given; numbers >= 0, not both 0, are allowed."
            )

    def factor(self, fraction: float) -> float:
        return self.first + (self.last - self.first) * fraction


@dataclass(frozen=True, slots=True)
class StepOn:
    """Zero until a share of the training is done, then 1.

    Attributes:
        at: The share, in (0, 1).
    """

    at: float
    kind: ClassVar[str] = "step_on"

    def __post_init__(self) -> None:
        if not 0 < self.at < 1:
            raise SpaceError(f"step_on.at: {self.at} given; numbers between 0 and 1 are allowed.")

    def factor(self, fraction: float) -> float:
        return float(fraction >= self.at)


@dataclass(frozen=True, slots=True)
class BoundaryRamp:
    """The ramps of the boundary loss: the boundary term grows from 0.01 to 1, its region term falls from 1 to 0.1.

    Attributes:
        falls: Whether this is the ramp of the region term.

    Source: Kervadec et al. 2019, "Boundary loss for highly unbalanced segmentation", section 3, arXiv:1812.07032.
    Deviations: 0.01 an epoch there, over about 100 epochs; here 1 over the whole training.
    """

    falls: bool = False
    kind: ClassVar[str] = "boundary_ramp"

    def factor(self, fraction: float) -> float:
        return max(0.1, 1 - fraction) if self.falls else min(1.0, 0.01 + fraction)


@dataclass(frozen=True, slots=True)
class GaussRamp:
    """exp(-5 (1 - t)^2): almost off at the start, on at the end.

    Attributes:
        length: Share of the training after which it stays at 1, in (0, 1].

    Source: Laine & Aila 2017, "Temporal ensembling for semi-supervised learning", section 2.1, arXiv:1610.02242.
    Deviations: none.
    """

    length: float = 1.0
    kind: ClassVar[str] = "gauss_ramp"

    def __post_init__(self) -> None:
        if not 0 < self.length <= 1:
            raise SpaceError(f"gauss_ramp.length: {self.length} given; numbers in (0, 1] are allowed.")

    def factor(self, fraction: float) -> float:
        return math.exp(-5 * (1 - min(1.0, fraction / self.length)) ** 2)


LossSchedule = Constant | Linear | StepOn | BoundaryRamp | GaussRamp


def least(schedule: LossSchedule) -> float:
    """The least factor that a schedule ever has; each is monotone."""
    return min(schedule.factor(0.0), schedule.factor(1.0))
