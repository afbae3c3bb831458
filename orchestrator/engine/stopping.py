"""Schedulers that let trials train and end those of which no more is expected, after an epoch that was scored.

- ``asha-stopping``: at each rung a trial goes on if it is among the best third (one in ``reduction``) of those that reached it
  so far. Li et al. 2020, arXiv:1810.05934, section 3.2, the variant in use where starting a leg is dear.
- ``median``: from ``min_epochs`` on a trial ends after an epoch if its best score so far is below the median of the other
  trials' mean scores up to that epoch. Golovin et al. 2017, "Google Vizier", section 3.2.1.
- ``curve``: at each rung a trial ends if the chance that it beats the best full training is at most ``CHANCE``. Its last score
  is foretold by a power law; the chance counts how often that forecast plus an error that it made on a finished trial,
  at the same rung, reaches the best: (1 + hits) / (1 + finished). So nothing is stopped before nine trials are finished,
  and if the errors of a trial are like those of the finished ones, at most one in ten that it stops would have won. They
  are like them only so far as finished trials resemble the stopped ones: that is an assumption.

None judges where the metric is silent: a trial on the floor goes on from the lowest rung while that is blind, and from a
higher one while too few are above the floor to rank.

Deviations: the first trials at a rung go on until it can rank. ``median`` counts every trial that reached the epoch, as
    waiting for completed ones would train as many to their end as there are slots.
"""

import statistics
from bisect import insort
from typing import assert_never

from orchestrator.engine.objective import Vector
from orchestrator.engine.rungs import Blindness, Floor, Rung
from orchestrator.engine.schedule import Promotion
from orchestrator.engine.settings import Scheduler
from orchestrator.engine.trial import Trial

CHANCE = 0.1
POINTS = 3  # scores above the floor that a forecast needs
EXPONENTS = (0.5, 1.0, 2.0)


class Stopping:
    """Scores at rungs and epochs, and what follows from them."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        floor = Floor()
        self._rungs = {epoch: Rung(epoch, floor) for epoch in scheduler.rungs}
        first, *more = self._rungs.values()
        self._floor = floor
        self._blindness = Blindness(first, more[0], scheduler.reduction) if more else None
        self._means: dict[int, list[float]] = {}  # sorted mean scores up to an epoch
        self._sums: dict[int, tuple[int, float, int]] = {}  # last epoch, sum and number of scores of a trial
        self._errors: dict[int, list[float]] = {epoch: [] for epoch in scheduler.rungs}
        self._best_final: float | None = None
        self._finished: set[int] = set()

    def update(self, trial: Trial) -> None:
        """Take note of how a trial of the search stands now."""
        for rung in self._rungs.values():
            if trial.epoch >= rung.epoch and trial.number not in rung.scores:
                rung.arrive(trial.number, trial.scores.get(rung.epoch), trial.macs)
        seen, total, count = self._sums.get(trial.number, (0, 0.0, 0))
        for epoch in range(seen + 1, trial.epoch + 1):
            if (score := trial.scores.get(epoch)) is not None:
                total, count = total + score[0], count + 1
                insort(self._means.setdefault(epoch, []), total / count)
        self._sums[trial.number] = (max(seen, trial.epoch), total, count)
        final = trial.scores.get(trial.max_epochs)
        if final is not None and trial.number not in self._finished:
            self._finished.add(trial.number)
            self._best_final = final[0] if self._best_final is None else max(self._best_final, final[0])
            for epoch, errors in self._errors.items():
                foretold = self._forecast(trial.scores, epoch)
                if foretold is not None:
                    errors.append(final[0] - foretold)

    def entry(self) -> int:
        """Epochs to which the next new trial may train: all."""
        return self._scheduler.max_epochs

    def step(self, *, closing: bool) -> Promotion | None:
        """Never: trials do not pause."""
        return None

    def halt(self, trial: Trial, epoch: int, score: Vector | None) -> str | None:
        """Why a trial must end after the epoch that it just reports, or None.

        Args:
            trial: As it stood before.
            epoch: The epoch.
            score: Of this epoch.
        """
        scheduler, rung = self._scheduler, self._rungs.get(epoch)
        if epoch >= scheduler.max_epochs or epoch < scheduler.min_epochs:
            return None
        if score is None or not self._floor.is_above(score):
            return None if rung is None else self._silence(rung)
        match scheduler.kind:
            case "asha-stopping":
                return None if rung is None else self._ranks(rung, score)
            case "median":
                return self._below_median(trial, epoch, score)
            case "curve":
                return None if rung is None else self._hopeless(trial, rung, score)
            case "none" | "halving" | "asha" | "hyperband" | "pasha":
                raise AssertionError(scheduler.kind)
        assert_never(scheduler.kind)

    def _silence(self, rung: Rung) -> str | None:
        lowest = next(iter(self._rungs.values()))
        blind = bool(self._blindness) if rung is lowest else rung.num_above() < self._scheduler.reduction
        return None if blind else f"nothing learned after {rung.epoch} epochs"

    def _ranks(self, rung: Rung, score: Vector) -> str | None:
        reached, rank = len(rung.scores) + 1, rung.rank(score) + 1
        if reached < self._scheduler.reduction or rank <= max(1, reached // self._scheduler.reduction):
            return None
        return f"rank {rank} of {reached} after {rung.epoch} epochs"

    def _below_median(self, trial: Trial, epoch: int, score: Vector) -> str | None:
        others = self._means.get(epoch, [])
        if len(others) < self._scheduler.reduction:
            return None
        best = max(known[0] for known in (*trial.scores.values(), score))
        median = (others[len(others) // 2] + others[(len(others) - 1) // 2]) / 2
        return f"below the median of {len(others)} trials after {epoch} epochs" if best < median else None

    def _hopeless(self, trial: Trial, rung: Rung, score: Vector) -> str | None:
        foretold = self._forecast({**trial.scores, rung.epoch: score}, rung.epoch)
        if foretold is None or self._best_final is None:
            return None
        errors = self._errors[rung.epoch]
        hits = sum(foretold + error >= self._best_final for error in errors)
        chance = (1 + hits) / (1 + len(errors))
        if chance > CHANCE:
            return None
        return f"a chance of at most {chance:.2f} to beat the best, after {rung.epoch} epochs"

    def _forecast(self, scores: dict[int, Vector], epoch: int) -> float | None:
        points = {e: score[0] for e, score in scores.items() if e <= epoch and self._floor.is_above(score)}
        return None if len(points) < POINTS else power_law(points, self._scheduler.max_epochs)


def power_law(points: dict[int, float], epoch: int) -> float:
    """The value at an epoch of the power law a - b t^-c, b >= 0, nearest to the points; c is one of three."""
    best: tuple[float, float] | None = None
    for exponent in EXPONENTS:
        fit = statistics.linear_regression([t**-exponent for t in points], list(points.values()))
        if fit.slope > 0:
            continue
        residual = sum((fit.intercept + fit.slope * t**-exponent - y) ** 2 for t, y in points.items())
        value = fit.intercept + fit.slope * epoch**-exponent
        if best is None or residual < best[0]:
            best = (residual, value)
    return statistics.fmean(points.values()) if best is None else best[1]
