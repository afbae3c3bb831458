"""Grid search in random order: every combination of values, reals at evenly spaced levels.

Source: Bergstra and Bengio 2012, "Random search for hyper-parameter optimization", section 2 (what it is compared with).
Deviations: the order is random, so that a search that ends early has seen values of every decision; of a grid of more than
    ``MOST`` points combinations are drawn rather than listed. After the last point the search goes on at random.
"""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from orchestrator.engine.encoding import value_at
from orchestrator.engine.sampler import History, Sampler
from search_spaces.candidate import Candidate
from search_spaces.domain import Domain
from search_spaces.exploration import size
from search_spaces.register import entry
from search_spaces.space import Space, Trace, encode, sample, trace_of

T = TypeVar("T")
MOST = 10_000
DRAWS = 100


@entry("grid")
@dataclass(frozen=True, slots=True)
class Grid(Sampler):
    """Visits the points of a grid, none twice.

    Attributes:
        levels: Values of a real, both ends among them.
    """

    levels: int = 4

    def propose(self, space: Space, history: History, *, seed: int) -> Candidate:
        """A point of the grid that was not proposed yet, if there is one."""
        rng = random.Random(seed)
        known = {_key(observation.trace) for observation in history.observations}
        if size(space, real_values=self.levels) > MOST:
            for _ in range(DRAWS):
                candidate, _trace = trace_of(space, _Draw(self, rng))
                if _key(encode(space, candidate)) not in known:
                    return candidate
            return sample(space, rng)
        left = {
            key: candidate
            for candidate in self._points(space)
            if (key := _key(encode(space, candidate))) not in known
        }
        if not left:
            return sample(space, rng)
        return list(left.values())[int(rng.random() * len(left))]

    def _values(self, domain: Domain[T]) -> list[T]:
        values = domain.values()
        if values is not None:
            return list(values)
        return [value_at(domain, level / max(1, self.levels - 1)) for level in range(self.levels)]

    def _points(self, space: Space) -> Iterator[Candidate]:
        """Every combination: each run of the space decides the first open decision in all ways."""
        waiting: list[tuple[int, ...]] = [()]
        while waiting:
            chosen = waiting.pop()
            walk = _Walk(self, chosen)
            candidate, _ = trace_of(space, walk)
            yield candidate
            for depth in range(len(chosen), len(walk.counts)):
                taken = (*chosen, *(0,) * (depth - len(chosen)))
                waiting += [(*taken, other) for other in range(1, walk.counts[depth])]


class _Draw:
    """Draws each decision from the grid."""

    def __init__(self, grid: Grid, rng: random.Random) -> None:
        self.grid, self.rng = grid, rng

    def __call__(self, path: str, domain: Domain[T], /) -> T:
        values = self.grid._values(domain)
        return values[math.floor(self.rng.random() * len(values))]


class _Walk:
    """Takes the chosen value of each decision in turn, then first values; counts the values that there were."""

    def __init__(self, grid: Grid, chosen: tuple[int, ...]) -> None:
        self.grid, self.chosen = grid, chosen
        self.counts: list[int] = []

    def __call__(self, path: str, domain: Domain[T], /) -> T:
        values = self.grid._values(domain)
        place = len(self.counts)
        self.counts.append(len(values))
        return values[self.chosen[place] if place < len(self.chosen) else 0]


def _key(trace: Trace) -> str:
    return json.dumps(trace, sort_keys=True)
