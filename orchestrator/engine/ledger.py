"""What runs, what waits and what was spent, kept up to date trial by trial, so that no question looks at all trials."""

import heapq
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.engine.events import Purpose
from orchestrator.engine.trial import Trial


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a trial adds: worker-seconds, and those of its running leg as share x (now - begin)."""

    spent: float = 0.0
    share: float = 0.0
    begin: float = 0.0


@dataclass(slots=True)
class _Sum:
    running: int = 0
    spent: float = 0.0
    share: float = 0.0
    begin: float = 0.0


class Ledger:
    """Sums over trials by purpose.

    Attributes:
        due: Trials without a leg that have nothing left to train but have no verdict.
    """

    def __init__(self) -> None:
        self.due: dict[int, None] = {}
        self._known: dict[int, _Entry] = {}
        self._sums: defaultdict[Purpose, _Sum] = defaultdict(_Sum)
        self._waiting: dict[bool, list[Trial]] = {
            True: [],
            False: [],
        }  # heaps by number, of the search or not

    def update(self, trial: Trial) -> None:
        """Take note of how a trial stands now."""
        old = self._known.get(trial.number, _Entry())
        new = _Entry(trial.cost.total)
        if trial.leg is not None:
            new = _Entry(
                trial.cost.total, trial.share, trial.share * (trial.leg.started + trial.leg.worked_s)
            )
        self._known[trial.number] = new
        total = self._sums[trial.purpose]
        total.running += (new.share > 0) - (old.share > 0)
        total.spent += new.spent - old.spent
        if total.running:
            total.share += new.share - old.share
            total.begin += new.begin - old.begin
        else:
            total.share = total.begin = 0.0  # so that rounding errors do not outlive the legs
        status = trial.status
        if status == "waiting":
            heapq.heappush(self._waiting[trial.purpose == "search"], trial)
        if status == "paused" and (trial.halted or trial.epoch >= trial.max_epochs):
            self.due[trial.number] = None
        else:
            self.due.pop(trial.number, None)

    def waiting(self, *, of_search: bool) -> Trial | None:
        """The first trial that has a leg to hand out."""
        heap = self._waiting[of_search]
        while heap and heap[0].status != "waiting":
            heapq.heappop(heap)
        return heap[0] if heap else None

    def running(self, *purposes: Purpose) -> int:
        """Running legs of these purposes, of all without any."""
        return sum(total.running for total in self._chosen(*purposes))

    def share(self) -> float:
        """Slots that running legs take."""
        return round(sum(total.share for total in self._chosen()), 9)

    def spent_s(self, now: float, purpose: Purpose) -> float:
        """Worker-seconds of a purpose, the current epochs of running legs included."""
        total = self._sums[purpose]
        return total.spent + max(0.0, total.share * now - total.begin)

    def _chosen(self, *purposes: Purpose) -> Iterator[_Sum]:
        return (total for purpose, total in self._sums.items() if not purposes or purpose in purposes)
