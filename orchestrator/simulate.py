"""What a job would probably do: the same search played on a table with several seeds."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from orchestrator.engine.settings import EngineSettings
from orchestrator.playground import Played, Playground

DRAWS = 2000  # of a bootstrap interval
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Budget:
    """Searches with several seeds after so many worker-seconds each.

    Attributes:
        best: Mean best of the seeds that had any.
        low: Lower end of the 95 % interval of the mean, from drawing seeds anew.
        high: Its upper end.
        median: Median best.
    """

    worker_s: float
    best: float
    low: float
    high: float
    median: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What a job would probably do: searches with several seeds on one table."""

    candidates: int
    trainings: int
    budgets: tuple[Budget, ...]
    played: tuple[Played, ...] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Means over the seeds, and the best over time."""

        def mean(of: Callable[[Played], float]) -> float:
            return statistics.mean(of(played) for played in self.played)

        return {
            "candidates_in_table": self.candidates,
            "trainings_in_table": self.trainings,
            "seeds": len(self.played),
            "wall_s": mean(lambda p: p.wall_s),
            "worker_s": mean(lambda p: p.worker_s),
            "trials": mean(lambda p: p.trials),
            "epochs": mean(lambda p: p.epochs),
            "moved": mean(lambda p: p.moved),
            "predicted": mean(lambda p: p.predicted),
            "best": [
                {"worker_s": b.worker_s, "mean": b.best, "low": b.low, "high": b.high, "median": b.median}
                for b in self.budgets
            ],
        }


def simulate(
    playground: Playground, settings: EngineSettings, *, workers: int, seeds: int, points: int = 10
) -> Summary:
    """Play a search with several seeds.

    Args:
        playground: The table.
        settings: The search; its seed is the first of the seeds.
        workers: Slots side by side.
        seeds: Searches.
        points: Budgets at which the best is given, evenly up to the longest search.
    """
    played = tuple(
        playground.play(replace(settings, seed=settings.seed + extra), workers=workers)
        for extra in range(seeds)
    )
    most = max(one.worker_s for one in played)
    budgets = [budget(played, most * (part + 1) / points) for part in range(points)]
    table = playground.table
    return Summary(
        len(table.by_digest),
        len(table.trainings),
        tuple(found for found in budgets if found is not None),
        played,
    )


def budget(played: Sequence[Played], worker_s: float) -> Budget | None:
    """The best of searches after so many worker-seconds; None where one of them had no value by then."""
    found = [one.best_after(worker_s) for one in played]
    values = [value for value in found if value is not None]
    if len(values) < len(found):
        return None
    low, high = interval(values)
    return Budget(worker_s, statistics.mean(values), low, high, statistics.median(values))


def interval(values: Sequence[float], of: Callable[..., Any] = np.mean) -> tuple[float, float]:
    """95 % interval of a mean or median, from drawing the values anew."""
    drawn = np.random.default_rng(0).choice(np.array(values), (DRAWS, len(values)))
    low, high = np.quantile(of(drawn, axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
