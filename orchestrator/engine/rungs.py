"""Which paused trial goes on: successive halving that promotes, and does not judge before the metric says anything.

A leg ends at a rung and its trial pauses there at no cost. A rung promotes the best third (one in ``reduction``) of the
trials that reached it, as they arrive.

A young network often scores the same as an empty prediction, whatever it becomes later: on hippocampus slices 9 of 26
trials had Dice 0.000 after one epoch, and one of those reached 0.813 after nine. So a score on the *floor* is silence,
not a verdict. The floor is learned: it is where at least three trials lie together at the very bottom of all scores. A
trial on it is never promoted for its score, and goes on unjudged from the lowest rung as long as that rung is *blind*:
too few trials are above the floor to rank, or those that went on unjudged before have risen often enough. From a higher
rung a trial that is still on the floor goes on only when nothing better is left to do and that rung cannot rank either.

Source: Li et al. 2020, "A system for massively parallel hyperparameter tuning", Algorithm 2, arXiv:1810.05934.
Deviations: the floor, as above. When no new trial can begin, trials on their way to a rung count as if they had reached
    it and at least one is promoted from each rung, so that slots do not idle and a search ends with a full training.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.engine.settings import Scheduler
from orchestrator.engine.state import Trial

TOUCHING = 0.01  # of the range of all scores: nearer to the lowest one than this is on the floor
LUMP = 3  # trials that make a floor


@dataclass(frozen=True, slots=True)
class Promotion:
    """A paused trial may train on; ``judged`` is False where its rung was blind."""

    trial: Trial
    to_epoch: int
    judged: bool


def promotion(
    trials: Iterable[Trial], scheduler: Scheduler, *, sign: float, closing: bool = False
) -> Promotion | None:
    """The most promising step up, highest rung first, if any.

    Args:
        trials: Trials of the search.
        scheduler: Rungs and reduction.
        sign: 1 where more of the objective is better, -1 where less is.
        closing: Whether no new trial can begin, so that waiting for more results is idling.
    """
    table = _Table(tuple(trials), scheduler, sign)
    steps = list(zip(scheduler.rungs, scheduler.rungs[1:], strict=False))
    for epoch, above in reversed(steps):
        if (best := table.promotable(epoch, closing=closing)) is not None:
            return Promotion(best, above, judged=True)
    for epoch, above in reversed(steps):
        if (silent := table.unjudged(epoch, above, closing=closing)) is not None:
            return Promotion(silent, above, judged=False)
    return None


class _Table:
    """Scores of trials at rungs, more is better."""

    def __init__(self, trials: tuple[Trial, ...], scheduler: Scheduler, sign: float) -> None:
        self.trials = trials
        self.scheduler = scheduler
        self.scores = [
            {epoch: sign * trial.values[epoch] for epoch in scheduler.rungs if epoch in trial.values}
            for trial in trials
        ]
        self.floor = _floor(self.scores)

    def promotable(self, epoch: int, *, closing: bool) -> Trial | None:
        """The best trial of the rung that is within its quota, above the floor, and still paused there."""
        reached = [index for index, trial in enumerate(self.trials) if trial.epoch >= epoch]
        quota = len(reached) // self.scheduler.reduction
        if closing:
            coming = sum(
                trial.epoch < epoch == trial.allowed for trial in self.trials if trial.verdict is None
            )
            quota = max(1, (len(reached) + coming) // self.scheduler.reduction)
        ranked = sorted(
            (index for index in reached if self._above(index, epoch)),
            key=lambda index: (-self.scores[index][epoch], index),
        )
        for index in ranked[:quota]:
            if _pauses_at(self.trials[index], epoch):
                return self.trials[index]
        return None

    def unjudged(self, epoch: int, above: int, *, closing: bool) -> Trial | None:
        """The first trial that pauses on the floor of a rung which cannot judge it."""
        lowest = epoch == self.scheduler.rungs[0]
        for index, trial in enumerate(self.trials):
            if _pauses_at(trial, epoch) and self._silent(index, epoch):
                blind = self._is_blind(epoch, above) if lowest else closing and self._cannot_rank(epoch)
                return trial if blind else None
        return None

    def _is_blind(self, epoch: int, above: int) -> bool:
        """Whether the floor of a rung says nothing about the rung above, as far as trials have shown."""
        if self._cannot_rank(epoch):
            return True
        went_on = [
            index
            for index, trial in enumerate(self.trials)
            if trial.epoch >= above and self._silent(index, epoch)
        ]
        risen = sum(self._above(index, above) for index in went_on)
        return not went_on or risen * self.scheduler.reduction >= len(went_on)

    def _cannot_rank(self, epoch: int) -> bool:
        return sum(self._above(index, epoch) for index in range(len(self.trials))) < self.scheduler.reduction

    def _above(self, index: int, epoch: int) -> bool:
        score = self.scores[index].get(epoch)
        return score is not None and (self.floor is None or score > self.floor)

    def _silent(self, index: int, epoch: int) -> bool:
        return self.trials[index].epoch >= epoch and not self._above(index, epoch)


def _pauses_at(trial: Trial, epoch: int) -> bool:
    return trial.status == "paused" and trial.allowed == epoch


def _floor(scores: Sequence[dict[int, float]]) -> float | None:
    """The highest score that counts as lying on the floor; None where there is no lump at the bottom."""
    known = [score for by_epoch in scores for score in by_epoch.values()]
    if not known:
        return None
    floor = min(known) + TOUCHING * (max(known) - min(known))
    lump = sum(any(score <= floor for score in by_epoch.values()) for by_epoch in scores)
    return floor if lump >= LUMP else None
