"""What a space holds as a whole: its paths and its size.

A space is an opaque function, so all of this is learned by running it. After each decision the run is
continued in several standard ways (first values, last values, draws that depend on the path alone); two
situations whose continuations ask the same questions count as one, which makes the walk as small as the space
is regular. Where that is still too much (more than ``MOST_SITUATIONS``, which ``MOST_PATHS`` foretell), the space is drawn from
instead: its paths are those of many candidates, its size is an estimate.
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
MOST_SITUATIONS = 3000
MOST_PATHS = 300  # in a first tenth of the draws
DRAWS = 500  # where there are more


def paths(space: Space) -> dict[str, tuple[Domain[object], ...]]:
    """Every path that some candidate has, in the order met, with the domains that it may have there.

    Of a space that is too large to walk through, those of ``DRAWS`` candidates: rare ones may be missing.
    """
    return _explored(space).domains


def size(space: Space, *, real_values: int = REAL_VALUES) -> int:
    """Number of traces of a space; a continuum counts as ``real_values`` values.

    Exact where each condition can be seen by one of the standard continuations, which holds for conditions on
    one decision each. Several traces may mean one candidate (a cell's nodes can be numbered in several ways).
    An estimate where ``is_exact`` says that it is no count (Knuth 1975, "Estimating the efficiency of backtrack programs":
    the mean over draws of the product of the sizes of the domains met).
    """
    return _explored(space, real_values).count


def decides(space: Space, path: str) -> bool:
    """Whether a space decides about a path, where its first candidate does."""
    return any(asked == path for asked, _ in _continued(space, {}, _first))


def is_exact(space: Space) -> bool:
    """Whether ``size`` is a count, and ``paths`` are all."""
    return _explored(space).exact


@dataclass(slots=True)
class _Explored:
    count: int = 0
    domains: dict[str, tuple[Domain[object], ...]] = field(default_factory=dict)
    exact: bool = True


class _TooLarge(Exception):  # the walk gives way to draws
    """More situations than ``MOST_SITUATIONS``."""


@functools.lru_cache(maxsize=32)
def _explored(space: Space, real_values: int = REAL_VALUES) -> _Explored:
    result = _Explored()
    counts: dict[tuple[tuple[Question, ...], ...], int] = {}
    open_states: set[tuple[tuple[Question, ...], ...]] = set()

    def visit(trace: Trace) -> int:
        runs = [_continued(space, trace, complete) for complete in _COMPLETIONS]
        state = tuple(runs)
        if state in counts:
            return counts[state]
        if not runs[0]:
            return 1
        if len(counts) + len(open_states) >= MOST_SITUATIONS:
            raise _TooLarge
        open_states.add(state)
        path, domain = runs[0][0]
        seen = result.domains.get(path, ())
        if domain not in seen:
            result.domains[path] = (*seen, domain)
        counts[state] = total = sum(
            times * visit(trace | {path: scalar}) for scalar, times in _branches(domain)
        )
        open_states.discard(state)
        return total

    def _branches(domain: Domain[object]) -> list[tuple[Scalar, int]]:
        values = domain.values()
        if values is None:
            return [(domain.to_scalar(domain.first), real_values)]
        if len(values) > MOST_BRANCHES:
            return [(domain.to_scalar(values[0]), len(values) - 1), (domain.to_scalar(values[-1]), 1)]
        return [(domain.to_scalar(value), 1) for value in values]

    if len(_drawn_from(space, real_values, DRAWS // 10).domains) > MOST_PATHS:
        return _drawn_from(space, real_values, DRAWS)
    try:
        result.count = visit({})
    except _TooLarge:
        return _drawn_from(space, real_values, DRAWS)
    return result


def _drawn_from(space: Space, real_values: int, draws: int) -> _Explored:
    result = _Explored(exact=False)
    sizes = []
    for number in range(draws):
        rng, product = random.Random(number), 1

        def choose(path: str, domain: Domain[T], rng: random.Random = rng) -> T:
            nonlocal product
            values = domain.values()
            product *= real_values if values is None else len(values)
            seen = result.domains.get(path, ())
            if domain not in seen:
                result.domains[path] = (*seen, cast(Domain[object], domain))
            return domain.draw(rng)

        space(choose)
        sizes.append(product)
    result.count = sum(sizes) // len(sizes)
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
