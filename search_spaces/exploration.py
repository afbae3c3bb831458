"""What a space holds as a whole: its paths and its size.

A space is an opaque function, so all of this is learned by running it. After each decision the run is
continued in several standard ways (first values, last values, draws that depend on the path alone); two
situations whose continuations ask the same questions count as one, which makes the walk as small as the space
is regular.
"""

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

from search_spaces.domain import Domain, Scalar
from search_spaces.space import Space, Trace

T = TypeVar("T")
Question = tuple[str, Domain[object]]
Complete = Callable[[str, Domain[object]], object]

MOST_BRANCHES = 64  # a domain of more values steers nothing but by its two ends
REAL_VALUES = 10


def paths(space: Space) -> dict[str, tuple[Domain[object], ...]]:
    """Every path that some candidate has, in the order met, with the domains that it may have there."""
    return _explored(space).domains


def size(space: Space, *, real_values: int = REAL_VALUES) -> int:
    """Number of traces of a space; a continuum counts as ``real_values`` values.

    Exact where each condition can be seen by one of the standard continuations, which holds for conditions on
    one decision each. Several traces may mean one candidate (a cell's nodes can be numbered in several ways).
    """
    return _explored(space, real_values).count


@dataclass(slots=True)
class _Explored:
    count: int = 0
    domains: dict[str, tuple[Domain[object], ...]] = field(default_factory=dict)


@functools.lru_cache(maxsize=32)
def _explored(space: Space, real_values: int = REAL_VALUES) -> _Explored:
    result = _Explored()
    counts: dict[tuple[tuple[Question, ...], ...], int] = {}

    def visit(trace: Trace) -> int:
        runs = [_continued(space, trace, complete) for complete in _COMPLETIONS]
        state = tuple(runs)
        if state in counts:
            return counts[state]
        if not runs[0]:
            return 1
        path, domain = runs[0][0]
        seen = result.domains.get(path, ())
        if domain not in seen:
            result.domains[path] = (*seen, domain)
        counts[state] = total = sum(
            times * visit(trace | {path: scalar}) for scalar, times in _branches(domain)
        )
        return total

    def _branches(domain: Domain[object]) -> list[tuple[Scalar, int]]:
        values = domain.values()
        if values is None:
            return [(domain.to_scalar(domain.first), real_values)]
        if len(values) > MOST_BRANCHES:
            return [(domain.to_scalar(values[0]), len(values) - 1), (domain.to_scalar(values[-1]), 1)]
        return [(domain.to_scalar(value), 1) for value in values]

    result.count = visit({})
    return result


def _continued(space: Space, trace: Trace, complete: Complete) -> tuple[Question, ...]:
    """What a space asks after the decisions of a trace when the rest is decided in a standard way."""
    asked: list[Question] = []

    def choose(path: str, domain: Domain[T]) -> T:
        if path in trace:
            return domain.from_scalar(trace[path])
        asked.append((path, cast(Domain[object], domain)))
        return cast(T, complete(path, cast(Domain[object], domain)))

    space(choose)
    return tuple(asked)


def _first(path: str, domain: Domain[object]) -> object:
    return domain.first


def _last(path: str, domain: Domain[object]) -> object:
    values = domain.values()
    return domain.first if values is None else values[-1]


def _drawn(salt: str, path: str, domain: Domain[object]) -> object:
    return domain.draw(random.Random(f"{salt}/{path}"))


_COMPLETIONS: tuple[Complete, ...] = (_first, _last, *(functools.partial(_drawn, salt) for salt in "ab"))
