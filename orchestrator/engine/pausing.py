"""Schedulers that pause trials at rungs, at no cost, and say which one goes on.

- ``none``: one rung, at the end.
- ``asha``: a rung promotes the best third (one in ``reduction``) of the trials that reached it, as they arrive. Li et al.
  2020, "A system for massively parallel hyperparameter tuning", Algorithm 2, arXiv:1810.05934.
- ``halving``: synchronous. Trials come in cohorts, as many as leave one at the top; a rung of a cohort is judged when all of
  it has arrived. The next cohort fills idle slots. Jamieson and Talwalkar 2016, "Non-stochastic best arm
  identification and hyperparameter optimization", Algorithm 1, arXiv:1502.07943.
- ``hyperband``: brackets that begin at ever higher rungs, each with trials in the proportion of the paper. Li et al. 2018,
  "Hyperband: a novel bandit-based approach to hyperparameter optimization", Algorithm 1, JMLR 18.
- ``pasha``: ``asha`` below a highest rung that grows by one while the two rungs at the top disagree on the order of the trials
  in both, as soft ranks. Bohdal et al. 2023, "PASHA: efficient HPO and NAS with progressive resource allocation", ICLR.

Deviations: a rung does not judge where the metric is silent (``rungs``); from a higher rung a trial that is still on the floor
    goes on only when nothing better is left to do and that rung cannot rank either. When no new trial can begin, trials
    on their way to a rung count as if they had reached it and at least one is promoted from each rung, so that slots do
    not idle and a search ends with a full training (``pasha``: with one to the highest rung so far). ``halving`` promotes
    at least one from each rung. Brackets of ``hyperband`` are filled side by side and promote as ``asha`` does, since
    a synchronous rung leaves slots idle. ``pasha`` takes the noise from the newest 50 trials of its top rung.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.engine.cohorts import Cohorts
from orchestrator.engine.objective import Vector
from orchestrator.engine.rungs import Blindness, Floor, Rung
from orchestrator.engine.schedule import Promotion
from orchestrator.engine.settings import Scheduler
from orchestrator.engine.trial import Trial

NOISE_SHARE = 0.9  # percentile of the differences of trials that cross to and fro (PASHA, section 4.2)
NOISE_TRIALS = 50


@dataclass(slots=True)
class _Group:
    """Trials that are judged among themselves, from a rung of theirs upwards.

    Attributes:
        first: Level of the lowest rung.
        rungs: From the first level upwards.
        blindness: Of the lowest rung.
        members: Trials.
    """

    first: int
    rungs: list[Rung]
    blindness: Blindness | None
    members: int = 0

    def rung(self, level: int) -> Rung:
        """The rung of a level."""
        return self.rungs[level - self.first]


class Pausing:
    """Tables of the rungs, and what follows from them."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._epochs = scheduler.rungs
        self._floor = Floor()
        self._groups: dict[int, _Group] = {}  # by bracket or cohort
        self._cohorts = Cohorts(self._floor)
        self._group_of: dict[int, tuple[int, _Group]] = {}
        self._counts = [0] * len(self._epochs)  # trials by bracket
        self._curves: dict[int, dict[int, Vector]] = {}
        self._highest = 0  # level to which a trial was allowed
        self._stable: dict[tuple[int, int, float | None], bool] = {}
        if scheduler.kind != "halving":
            for level in range(len(self._epochs) if scheduler.kind == "hyperband" else 1):
                self._groups[level] = self._new_group(level)

    def update(self, trial: Trial) -> None:
        """Take note of how a trial of the search stands now."""
        if trial.number not in self._group_of:
            self._group_of[trial.number] = self._enter(trial)
            self._curves[trial.number] = trial.scores
        elif trial.leg is not None and trial.epoch not in self._epochs:
            return  # on its way between two rungs
        key, group = self._group_of[trial.number]
        is_synchronous = self._scheduler.kind == "halving"
        if is_synchronous:
            self._cohorts.open(key)
        for level, rung in enumerate(group.rungs, start=group.first):
            ends_here = trial.allowed == rung.epoch
            if trial.epoch >= rung.epoch and trial.number not in rung.scores:
                rung.arrive(trial.number, trial.scores.get(rung.epoch), trial.macs)
                if is_synchronous:
                    self._cohorts.learn(key, trial.scores.get(rung.epoch))
            if trial.number in rung.scores:
                rung.pause(trial.number, pauses=ends_here and trial.status == "paused")
            is_coming = trial.verdict is None and trial.epoch < rung.epoch and ends_here
            (rung.coming.add if is_coming else rung.coming.discard)(trial.number)
            if ends_here:
                self._highest = max(self._highest, level)

    def entry(self) -> int:
        """Epochs to which the next new trial may train."""
        return self._epochs[self._bracket() if self._scheduler.kind == "hyperband" else 0]

    def halt(self, trial: Trial, epoch: int, score: Vector | None) -> str | None:
        """Never: trials pause at rungs."""
        return None

    def step(self, *, closing: bool) -> Promotion | None:
        """The most promising step up, highest rung first, if any.

        Args:
            closing: Whether no new trial can begin, so that waiting for more results is idling.
        """
        if self._scheduler.kind == "halving":
            return self._synchronous(closing=closing)
        levels = range(self._cap() - 1, -1, -1)
        places = [
            (group, level) for level in levels for group in self._groups.values() if level >= group.first
        ]
        for group, level in places:
            if (found := self._judged(group, level, closing=closing)) is not None:
                return found
        for group, level in places:
            if (found := self._unjudged(group, level, closing=closing)) is not None:
                return found
        return None

    def _judged(self, group: _Group, level: int, *, closing: bool) -> Promotion | None:
        rung = group.rung(level)
        quota = len(rung.scores) // self._scheduler.reduction
        if closing:
            quota = max(1, (len(rung.scores) + len(rung.coming)) // self._scheduler.reduction)
        best = rung.best_paused(quota)
        return None if best is None else Promotion(best, self._epochs[level + 1], judged=True)

    def _unjudged(self, group: _Group, level: int, *, closing: bool) -> Promotion | None:
        rung = group.rung(level)
        if level == group.first:
            blind = bool(group.blindness)
        else:
            blind = closing and rung.num_above() < self._scheduler.reduction
        silent = rung.first_silent() if blind else rung.first_unrivalled()
        return None if silent is None else Promotion(silent, self._epochs[level + 1], judged=False)

    def _synchronous(self, *, closing: bool) -> Promotion | None:
        while (key := self._cohorts.first()) is not None:
            group = self._groups[key]
            if group.members < self._cohort and not closing:
                return None  # it is the last one
            for level in range(len(self._epochs) - 1):
                if group.rung(level).coming:
                    break
                if (found := self._judged(group, level, closing=True)) is not None:
                    return found
                if (found := self._unjudged(group, level, closing=True)) is not None:
                    return found
            self._cohorts.close(key)
        return None

    @property
    def _cohort(self) -> int:
        return int(self._scheduler.reduction ** (len(self._epochs) - 1))

    def _enter(self, trial: Trial) -> tuple[int, _Group]:
        """The group of a new trial."""
        match self._scheduler.kind:
            case "hyperband":
                key = self._epochs.index(trial.allowed)
                self._counts[key] += 1
            case "halving":
                key = len(self._group_of) // self._cohort
            case _:
                key = 0
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = self._new_group(0)
        group.members += 1
        return key, group

    def _new_group(self, first: int) -> _Group:
        rungs = [Rung(epoch, self._floor) for epoch in self._epochs[first:]]
        blind = Blindness(rungs[0], rungs[1], self._scheduler.reduction) if len(rungs) > 1 else None
        return _Group(first, rungs, blind)

    def _bracket(self) -> int:
        """The bracket that is most behind its share of the trials."""
        top, eta = len(self._epochs) - 1, self._scheduler.reduction
        wanted = [math.ceil((top + 1) / (top - s + 1) * eta ** (top - s)) for s in range(top + 1)]
        begun = sum(self._counts) + 1
        behind = [begun * w / sum(wanted) - c for w, c in zip(wanted, self._counts, strict=True)]
        return behind.index(max(behind))

    def _cap(self) -> int:
        """The highest level to which trials may be promoted now."""
        top = len(self._epochs) - 1
        if self._scheduler.kind != "pasha":
            return top
        level = min(top, max(1, self._highest))
        return level if level == top or self._agree(level) else level + 1

    def _agree(self, level: int) -> bool:
        """Whether a rung and the one below order the trials that are in both alike, within the noise."""
        upper, lower = self._groups[0].rung(level), self._groups[0].rung(level - 1)
        version = (level, len(upper.scores), self._floor.value)
        if version not in self._stable:
            numbers = [n for n in upper.scores if upper.is_above(n) and lower.is_above(n)]
            above = sorted(numbers, key=lambda n: (-_first(upper.scores[n]), n))
            below = sorted(numbers, key=lambda n: (-_first(lower.scores[n]), n))
            noise = self._noise(numbers[-NOISE_TRIALS:], upper.epoch)
            self._stable[version] = all(
                abs(_first(lower.scores[one]) - _first(lower.scores[other])) <= noise
                for one, other in zip(above, below, strict=True)
            )
        return self._stable[version]

    def _noise(self, numbers: list[int], epoch: int) -> float:
        """How far apart trials are that change places twice on the way."""
        gaps = sorted(
            gap
            for one, other in itertools.combinations(numbers, 2)
            if (gap := _crossing(list(self._differences(one, other, epoch)))) is not None
        )
        return gaps[math.ceil(NOISE_SHARE * len(gaps)) - 1] if gaps else 0.0

    def _differences(self, one: int, other: int, last: int) -> Iterator[float]:
        for epoch, score in self._curves[one].items():
            if epoch <= last and epoch in self._curves[other]:
                yield score[0] - self._curves[other][epoch][0]


def _crossing(differences: list[float]) -> float | None:
    """The last distance of two curves that were in this order, in the other order, and in this order again."""
    signs = [d > 0 for d in differences if d != 0]
    changes = sum(a != b for a, b in itertools.pairwise(signs))
    return abs(differences[-1]) if changes >= 2 and differences[-1] != 0 else None


def _first(score: Vector | None) -> float:
    assert score is not None
    return score[0]
