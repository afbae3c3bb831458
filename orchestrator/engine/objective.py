"""What a search is after: metrics that training improves, and costs that a candidate has.

A *learned* objective is a metric of the evaluator; it changes with each epoch, so rungs can judge it and can find it
silent. A *cost* is known without the evaluator: from the gate before training, or from the measured time of the epochs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, get_args

Direction = Literal["maximize", "minimize"]
Static = Literal["parameters", "macs"]
"""Costs that the gate knows before training."""
Measured = Literal["worker_seconds", "latency_ms"]
"""Costs that epochs tell: worker-seconds are those of the training steps of a full training, by the mean epoch so far;
latency is that of one window on the trial's share of the machine."""

COSTS: tuple[str, ...] = (*get_args(Static), *get_args(Measured))
Vector = tuple[float, ...]
"""A value for each objective, the learned ones first; more is better."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective: the name of a metric or cost, and whether more of it is better."""

    name: str
    direction: Direction = "maximize"

    @property
    def is_learned(self) -> bool:
        """Whether training improves it."""
        return self.name not in COSTS

    def score(self, value: float) -> float:
        """The value such that more is better; the same turns a score back into a value."""
        return value if self.direction == "maximize" else -value


def objectives_of(wanted: Mapping[Direction, Sequence[str]]) -> tuple[Objective, ...]:
    """The objectives of a job's ``{maximize: [...], minimize: [...]}``: learned ones first, else in the job's order.

    Raises:
        ValueError: No learned objective, one named twice, or a cost to be maximised.
    """
    found = [
        Objective(name, direction) for direction in get_args(Direction) for name in wanted.get(direction, ())
    ]
    names = [objective.name for objective in found]
    for objective in found:
        if names.count(objective.name) > 1:
            raise ValueError(f"{objective.name!r} is named twice; keep one.")
        if not objective.is_learned and objective.direction == "maximize":
            raise ValueError(f"{objective.name!r} is a cost, which can only be minimised.")
    if not any(objective.is_learned for objective in found):
        raise ValueError(
            f"at least one metric that training improves is needed, such as maximize: [dice]; got {names or 'none'}."
        )
    return tuple(sorted(found, key=lambda objective: not objective.is_learned))


def vector_of(
    objectives: Sequence[Objective], metrics: Mapping[str, float], costs: Mapping[str, float]
) -> Vector | None:
    """Scores of one epoch; None where a metric or cost is not defined, as a candidate without one cannot be ranked."""
    found = []
    for objective in objectives:
        value = metrics.get(objective.name) if objective.is_learned else costs.get(objective.name)
        if value is None:
            return None
        found.append(objective.score(value))
    return tuple(found)


def mean_vector(scores: list[Vector]) -> Vector:
    """The mean over seeds, objective by objective."""
    return scores[0] if len(scores) == 1 else tuple(fmean(values) for values in zip(*scores, strict=True))
