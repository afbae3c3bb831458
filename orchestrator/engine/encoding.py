"""A space as a cube: every path that some candidate has is one axis from 0 to 1, so that candidates are points of one width.

A value stands in the middle of its share of the axis, in the order of its domain; a real stands where it lies between its
ends. A path that a candidate does not have stands at 0.5, so such axes do not set candidates apart. Where a path has another
domain in another candidate (the learning rates of two optimisers), both share the axis.
"""

import functools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

from search_spaces.candidate import Candidate
from search_spaces.domain import Choice, Domain, Integer, Real, Scalar, quantise
from search_spaces.exploration import paths
from search_spaces.space import Space, Trace, domains_of, trace_of

T = TypeVar("T")
Point = tuple[float, ...]
Array = npt.NDArray[np.float64]
ABSENT = 0.5
BLOCK = 256  # points of a quasi-random sequence that are made at once, and cells that they lie in


@dataclass(frozen=True, slots=True)
class Encoding:
    """The axes of a space.

    Attributes:
        space: What may be chosen.
        domains: Every path with the domains that it may have, in the order in which the space asks.
    """

    space: Space
    domains: Mapping[str, tuple[Domain[object], ...]]

    @property
    def axes(self) -> tuple[str, ...]:
        """The paths, in order."""
        return tuple(self.domains)

    def is_numeric(self, path: str) -> bool:
        """Whether an axis orders numbers; otherwise its order means nothing."""
        return all(
            not isinstance(domain, Choice) or all(_is_number(item) for item in domain.labels)
            for domain in self.domains[path]
        )

    def point(self, trace: Trace) -> Point:
        """Where a candidate lies."""
        known = domains_of(self.space, trace)
        return tuple(unit_of(known[path], trace[path]) if path in known else ABSENT for path in self.domains)

    def features(self, points: Array, present: npt.NDArray[np.bool_]) -> Array:
        """Candidates as numbers for a model: a number where it stands on its axis, any other decision as one half at its
        value. The sum of absolute differences counts decisions that differ, numbers by how far they are apart.

        Args:
            points: One row a candidate, (n, axes).
            present: Whether the candidate has the path, (n, axes).

        Shape:
            returns (n, features).
        """
        columns: list[Array] = []
        for axis, path in enumerate(self.domains):
            at = points[:, axis]
            if self.is_numeric(path):
                columns.append(at[:, None])
                continue
            options = max(len(domain.values() or ()) for domain in self.domains[path])
            place = np.minimum((at * options).astype(int), options - 1)
            columns.append(0.5 * ((place[:, None] == np.arange(options)) & present[:, axis, None]))
        return np.concatenate(columns, axis=1)

    def present(self, trace: Trace) -> list[bool]:
        """Which axes are decisions of a candidate."""
        return [path in trace for path in self.domains]

    def quasi_random(self, number: int, *, seed: int, scramble: int = 0) -> Candidate:
        """A point of a scrambled Sobol sequence, moved within its cell by the seed.

        Source: Owen 1998, "Scrambling Sobol' and Niederreiter-Xing points"; scipy.stats.qmc.
        """
        point = _sequence(len(self.domains), scramble, number // BLOCK)[number % BLOCK]
        rng = random.Random(seed)
        return self.candidate([(int(at * BLOCK) + rng.random()) / BLOCK for at in point])

    def candidate(self, point: Sequence[float]) -> Candidate:
        """The candidate at a point; axes of paths that it does not have are ignored."""
        place = dict(zip(self.domains, point, strict=True))

        def choose(path: str, domain: Domain[T]) -> T:
            return value_at(domain, place.get(path, ABSENT))

        return trace_of(self.space, choose)[0]


@functools.lru_cache(maxsize=32)
def encoding_of(space: Space) -> Encoding:
    """The axes of a space; worked out once."""
    return Encoding(space, paths(space))


def unit_of(domain: Domain[T], scalar: Scalar) -> float:
    """Where a value of a domain stands between 0 and 1."""
    value = domain.from_scalar(scalar)
    if isinstance(domain, Real):
        low, high, at = domain.low, domain.high, cast(float, value)
        if domain.log:
            return (math.log(at) - math.log(low)) / (math.log(high) - math.log(low))
        return (at - low) / (high - low)
    if isinstance(domain, Integer) and domain.log:
        low, high = math.log(domain.low - 0.5), math.log(domain.high + 0.5)
        return (math.log(cast(int, value)) - low) / (high - low)
    values = list(domain.values() or ())
    return (next(i for i, item in enumerate(values) if domain.to_scalar(item) == scalar) + 0.5) / len(values)


def value_at(domain: Domain[T], unit: float) -> T:
    """The value whose share of the axis holds a number between 0 and 1."""
    unit = min(max(unit, 0.0), 1.0)
    if isinstance(domain, Real):
        low, high = domain.low, domain.high
        at = low * (high / low) ** unit if domain.log else low + (high - low) * unit
        return cast(T, domain.from_scalar(min(max(quantise(at), low), high)))
    if isinstance(domain, Integer) and domain.log:
        ends = math.log(domain.low - 0.5), math.log(domain.high + 0.5)
        at = math.exp(ends[0] + (ends[1] - ends[0]) * unit)
        return cast(T, domain.from_scalar(min(max(round(at), domain.low), domain.high)))
    values = list(domain.values() or ())
    return values[min(int(unit * len(values)), len(values) - 1)]


@functools.lru_cache(maxsize=64)
def _sequence(axes: int, scramble: int, block: int) -> list[list[float]]:
    from scipy.stats import qmc  # takes half a second, for which a check of a job need not wait

    sequence = qmc.Sobol(axes, scramble=True, rng=scramble)
    if block:
        sequence.fast_forward(block * BLOCK)
    points: list[list[float]] = sequence.random(BLOCK).tolist()
    return points


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
