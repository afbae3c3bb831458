"""Cohorts of synchronous halving of which somebody may go on, so that no decision looks at all of them.

A cohort that was looked at in vain is closed. It opens again when one of its trials changes, or when the floor passes one of
their scores: a rung depends on the floor by what lies above it and by nothing else.
"""

import heapq
import math
from bisect import bisect_right, insort

from orchestrator.engine.objective import Vector
from orchestrator.engine.rungs import Floor, level_of


class Cohorts:
    """Open cohorts, by number.

    Args:
        floor: Of the search; looked at when a decision is made.
    """

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._level = level_of(floor)  # as it was when the closed ones were closed
        self._open: set[int] = set()
        self._heap: list[int] = []  # the open ones, and such as are not any more
        self._scores: list[tuple[float, int]] = []  # at rungs, sorted, each with its cohort

    def open(self, key: int) -> None:
        """Take note that a trial of a cohort changed."""
        if key not in self._open:
            self._open.add(key)
            heapq.heappush(self._heap, key)

    def close(self, key: int) -> None:
        """Take note that nobody of a cohort may go on as things stand."""
        self._open.discard(key)

    def learn(self, key: int, score: Vector | None) -> None:
        """Take in what a trial of a cohort scored at a rung; without a score it lies on every floor."""
        if score is not None:
            insort(self._scores, (score[0], key))

    def first(self) -> int | None:
        """The first open cohort."""
        level = level_of(self._floor)
        if level != self._level:
            first, last = (
                bisect_right(self._scores, (limit, math.inf)) for limit in sorted((level, self._level))
            )
            for _, key in self._scores[first:last]:
                self.open(key)
            self._level = level
        while self._heap and self._heap[0] not in self._open:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None
