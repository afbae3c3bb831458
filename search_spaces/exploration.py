"""What a space holds as a whole: its paths, its size, and a narrower space for the ``fix`` of a job.

A space is an opaque function, so all of this is learned by running it. After each decision the run is
continued in several standard ways (first values, last values, draws that depend on the path alone); two
situations whose continuations ask the same questions count as one, which makes the walk as small as the space
is regular.
"""

import difflib
import functools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from search_spaces.candidate import Candidate
from search_spaces.domain import Choice, Domain, Integer, Real, Scalar
from search_spaces.errors import SpaceError
from search_spaces.register import unknown_name
from search_spaces.space import Choose, Space, Trace

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


def narrow(space: Space, fix: Mapping[str, object]) -> Space:
    """The part of a space in which some decisions are pinned or narrowed.

    Args:
        space: The space.
        fix: By path, or by an ending of exactly one path: a value, a list of values, or ``{"low": ...,
            "high": ...}``.

    Raises:
        SpaceError: Unknown or ambiguous path, a value outside its domain, or a combination that no candidate
            meets.
    """
    if not fix:
        return space
    known = paths(space)
    rules: dict[str, object] = {}
    for name, value in fix.items():
        path = _resolve(name, known)
        if path in rules:
            raise SpaceError(f"fix.{name}: {path} is fixed twice; keep one.")
        if not any(_restricted(domain, value) for domain in known[path]):
            allowed = " or ".join(dict.fromkeys(str(domain) for domain in known[path]))
            near = difflib.get_close_matches(str(value), allowed.replace(" or ", ", ").split(", "), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise SpaceError(
                f"fix.{name}: {value!r} given{hint} Allowed are {allowed}.".replace("; A", "; a")
            )
        rules[path] = value
    narrowed = _Narrowed(space, tuple(rules.items()))
    reached = paths(narrowed)
    for path in rules:
        if path not in reached:
            raise SpaceError(
                f"fix: no candidate that meets the other fixes has {path}; remove it, or change them."
            )
    return narrowed


class _Narrowed:
    """A space seen through rules."""

    def __init__(self, space: Space, rules: tuple[tuple[str, object], ...]) -> None:
        self.space = space
        self.rules = dict(rules)

    def __call__(self, choose: Choose) -> Candidate:
        def restricted(path: str, domain: Domain[T]) -> T:
            if path not in self.rules:
                return choose(path, domain)
            narrower = _restricted(domain, self.rules[path])
            if narrower is None:
                raise SpaceError(
                    f"fix: {path} cannot be {self.rules[path]!r} in every candidate, here allowed are {domain}; "
                    "fix the decision it depends on as well."
                )
            return choose(path, narrower)

        return self.space(restricted)


def _restricted(domain: Domain[T], rule: object) -> Domain[T] | None:
    """The values of a domain that a rule allows; None where there are none."""
    if isinstance(rule, Mapping):
        return _within(domain, rule)
    wanted: Sequence[object] = rule if isinstance(rule, list | tuple) else (rule,)
    if isinstance(rule, list | tuple) and domain.contains(tuple(rule)):
        wanted = (tuple(rule),)
    values = [_value(domain, item) for item in wanted]
    if not values or any(value is None for value in values):
        return None
    return Choice(tuple(dict.fromkeys(value[0] for value in values if value is not None)))


def _value(domain: Domain[T], item: object) -> tuple[T] | None:
    """What a job file's value means in a domain, in a tuple; None where it means nothing."""
    if isinstance(item, list | tuple):
        item = ",".join(str(part) for part in item)
    try:
        return (domain.from_scalar(cast(Scalar, item)),)
    except SpaceError:
        return None


def _within(domain: Domain[T], rule: Mapping[object, object]) -> Domain[T] | None:
    if not rule or not set(rule) <= {"low", "high"}:
        return None
    ends = [rule.get("low", -math.inf), rule.get("high", math.inf)]
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends):
        return None
    low, high = (float(cast(float, end)) for end in ends)
    if isinstance(domain, Real):
        low, high = max(low, domain.low), min(high, domain.high)
        return cast(Domain[T], Real(low, high, log=domain.log)) if low < high else None
    if isinstance(domain, Integer) and domain.log:
        first, last = max(math.ceil(low), domain.low), min(math.floor(high), domain.high)
        return cast(Domain[T], Integer(first, last, log=True)) if first <= last else None
    values = tuple(value for value in domain.values() or () if _number_in(value, low, high))
    return Choice(values) if values else None


def _number_in(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _resolve(name: str, known: Mapping[str, object]) -> str:
    """The one path that is called, or ends in, a name."""
    if name in known:
        return name
    found = [path for path in known if path.endswith(f".{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise SpaceError(f"fix.{name}: several choices end in it; write one of {', '.join(found)}.")
    endings = {".".join(path.split(".")[start:]) for path in known for start in range(path.count(".") + 1)}
    short = sorted(path.split(".", 1)[-1] for path in known)
    message = unknown_name("choice", name, endings)
    raise SpaceError(f"fix.{name}: {message[: message.index(' Known:')]} Known: {', '.join(short)}.")


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
