"""Scores at the epochs where trials are judged, kept sorted; and where a score says nothing.

A young network often scores the same as an empty prediction, whatever it becomes later: on hippocampus slices 9 of 26
trials had Dice 0.000 after one epoch, and one of those reached 0.813 after nine. So a score on the *floor* is silence,
not a verdict. The floor is learned: it is where at least three trials lie together at the very bottom of all scores of the
first objective. A trial on it is never ranked, and goes on unjudged from the lowest rung as long as that rung is
*blind*: too few trials are above the floor to rank, or those that went on unjudged before have risen often enough.

Ranks above the floor: with one objective by its score, and of equal scores the network with fewer MACs goes first; with
several, by non-dominated front, then by crowding (``pareto.ranking``), which is not kept sorted but worked out after each
arrival. A silent trial that costs less than any above the floor goes on, too: small networks learn late, and no other can
take its place.

Source of the multi-objective ranks: Schmucker et al. 2021, "Multi-objective asynchronous successive halving",
    arXiv:2106.12639, the variant that ranks by non-dominated sorting.
Deviations: crowding distance in place of an epsilon-net within a front; the first front goes on whole, as with many
    objectives it holds more than one in ``reduction``; the floor.
"""

import heapq
import math
from bisect import bisect_left, bisect_right, insort

from orchestrator.engine.objective import Vector
from orchestrator.engine.pareto import fronts, ranking

TOUCHING = 0.01  # of the range of all scores: nearer to the lowest one than this is on the floor
LUMP = 3  # trials that make a floor

Key = tuple[float, float, int]  # (negated first score, MACs, number): the best sorts first


class Floor:
    """Learns the floor from the scores at rungs.

    Attributes:
        value: The highest score that counts as lying on the floor; None where there is no lump at the bottom.
    """

    def __init__(self) -> None:
        self.value: float | None = None
        self._lowest, self._highest = math.inf, -math.inf
        self._worst: dict[int, float] = {}
        self._sorted: list[float] = []

    def learn(self, number: int, score: float) -> None:
        """Take a trial's score at a rung in."""
        self._lowest, self._highest = min(self._lowest, score), max(self._highest, score)
        before = self._worst.get(number, math.inf)
        if score < before:
            if before < math.inf:
                del self._sorted[bisect_left(self._sorted, before)]
            insort(self._sorted, score)
            self._worst[number] = score
        bottom = self._lowest + TOUCHING * (self._highest - self._lowest)
        self.value = bottom if bisect_right(self._sorted, bottom) >= LUMP else None

    def is_above(self, score: Vector | None) -> bool:
        """Whether a score says something."""
        return score is not None and (self.value is None or score[0] > self.value)


class Rung:
    """Trials that reached an epoch.

    Args:
        epoch: When trials are judged.
        floor: Shared by the rungs of a search.

    Attributes:
        scores: What each trial that reached it scored there.
        arrivals: These trials in the order in which they came.
        coming: Trials that train towards it and end a leg there.
    """

    def __init__(self, epoch: int, floor: Floor) -> None:
        self.epoch = epoch
        self.floor = floor
        self.scores: dict[int, Vector | None] = {}
        self.arrivals: list[int] = []
        self.coming: set[int] = set()
        self._keys: dict[int, Key] = {}
        self._sorted: list[Key] = []
        self._paused: list[Key] = []
        self._pausing: set[int] = set()
        # Heap of paused trials on the floor, beside such as are not there any more.
        self._silent: list[int] = []
        self._silent_below = -math.inf  # the floor up to which they were gathered
        self._ranked: tuple[tuple[int, float | None], list[int], int] = ((0, None), [], 0)

    def arrive(self, number: int, score: Vector | None, cost: float) -> None:
        """A trial reached the rung; ``cost`` orders equal scores, and must be the same in every run."""
        self.scores[number] = score
        self.arrivals.append(number)
        if score is not None:
            self.floor.learn(number, score[0])
            self._keys[number] = (-score[0], cost, number)
            insort(self._sorted, self._keys[number])

    def pause(self, number: int, *, pauses: bool) -> None:
        """Take note whether a trial that reached the rung pauses there."""
        if pauses == (number in self._pausing):
            return
        (self._pausing.add if pauses else self._pausing.remove)(number)
        if pauses and not self.is_above(number):
            heapq.heappush(self._silent, number)
        elif pauses:  # if the floor rises, it is looked for from here
            self._silent_below = min(self._silent_below, level_of(self.floor))
        if (key := self._keys.get(number)) is not None:
            place = bisect_left(self._paused, key)
            self._paused[place : place + (not pauses)] = [key] if pauses else []

    def is_above(self, number: int) -> bool:
        """Whether a trial that reached the rung scored above the floor there."""
        return self.floor.is_above(self.scores[number])

    def num_above(self) -> int:
        """Trials that can be ranked."""
        return self._split(self._sorted)

    def best_paused(self, quota: int) -> int | None:
        """The best trial that pauses here and is among the first ``quota`` above the floor.

        With several objectives the whole first front is among them: nothing is known to be better than its members.
        """
        if not self._split(self._paused):
            return None
        if len(self.scores[self._paused[0][2]] or ()) == 1:
            return self._paused[0][2] if bisect_left(self._sorted, self._paused[0]) < quota else None
        order = self.ranked()
        quota = max(quota, self._ranked[2])
        return next((number for number in order[:quota] if number in self._pausing), None)

    def ranked(self) -> list[int]:
        """Trials above the floor, best first."""
        version = (len(self.scores), self.floor.value)
        if self._ranked[0] != version:
            keys = self._sorted[: self.num_above()]
            vectors = [self.scores[number] or () for _, _, number in keys]
            order = ranking(vectors, [cost for _, cost, _ in keys])
            self._ranked = (version, [keys[index][2] for index in order], fronts(vectors).count(1))
        return self._ranked[1]

    def rank(self, score: Vector) -> int:
        """How many trials above the floor are better than one that is about to arrive with this score."""
        if len(score) == 1:
            return bisect_left(self._sorted, (-score[0], -math.inf, -1))
        keys = self._sorted[: self.num_above()]
        vectors = [self.scores[number] or () for _, _, number in keys]
        return ranking([*vectors, score], [0.0] * (len(keys) + 1)).index(len(keys))

    def first_silent(self) -> int | None:
        """The first trial that pauses on the floor."""
        floor = level_of(self.floor)
        # A floor that rises brings those between; one that falls leaves some too many.
        if floor > self._silent_below:
            first, last = (
                bisect_left(self._paused, (-level, -math.inf, -1)) for level in (floor, self._silent_below)
            )
            for _, _, number in self._paused[first:last]:
                heapq.heappush(self._silent, number)
        self._silent_below = floor
        heap = self._silent
        while heap and (heap[0] not in self._pausing or self.is_above(heap[0])):
            heapq.heappop(heap)
        return heap[0] if heap else None

    def first_unrivalled(self) -> int | None:
        """With several objectives, the first trial that pauses on the floor while none above it costs as little.

        Its first score says nothing yet, and nothing that says something is better in all the others.
        """
        if len(next((score for score in self.scores.values() if score is not None), ())) < 2:
            return None  # one objective: nothing but its score could speak for a trial
        silent = sorted(n for n in self._pausing if self.scores[n] is not None and not self.is_above(n))
        if not silent:
            return None
        rivals = {(self.scores[number] or ())[1:] for number in self.ranked()}
        for number in silent:
            costs = (self.scores[number] or ())[1:]
            if not any(all(a >= b for a, b in zip(rival, costs, strict=True)) for rival in rivals):
                return number
        return None

    def _split(self, keys: list[Key]) -> int:
        """How many of these lie above the floor; they come first."""
        floor = self.floor.value
        return len(keys) if floor is None else bisect_left(keys, (-floor, -math.inf, -1))


class Blindness:
    """Whether the floor of a rung says nothing about the rung above, as far as trials have shown."""

    def __init__(self, lower: Rung, upper: Rung, reduction: int) -> None:
        self._lower, self._upper, self._reduction = lower, upper, reduction
        self._counted = 0  # trials of the upper rung, in order of arrival
        self._below: list[float] = []  # their scores at the lower rung, sorted
        self._both: list[float] = []  # the higher of their two scores, sorted

    def __bool__(self) -> bool:
        if self._lower.num_above() < self._reduction:
            return True
        for number in self._upper.arrivals[self._counted :]:
            below, above = _first(self._lower.scores[number]), _first(self._upper.scores[number])
            insort(self._below, below)
            insort(self._both, max(below, above))
        self._counted = len(self._upper.arrivals)
        floor = level_of(self._lower.floor)
        went_on = bisect_right(self._below, floor)
        risen = went_on - bisect_right(self._both, floor)
        return not went_on or risen * self._reduction >= went_on


def level_of(floor: Floor) -> float:
    """The floor as a number: under every score where there is none."""
    return -math.inf if floor.value is None else floor.value


def _first(score: Vector | None) -> float:
    """The first score; one that is missing lies on every floor."""
    return -math.inf if score is None else score[0]
