"""The part of a space that a job's ``fix`` leaves: decisions pinned or narrowed by their paths."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

from search_spaces.candidate import Candidate
from search_spaces.domain import Choice, Domain, Integer, Real, Scalar
from search_spaces.errors import SpaceError
from search_spaces.exploration import paths
from search_spaces.register import unknown_name
from search_spaces.space import Choose, Space

T = TypeVar("T")


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
        if isinstance(value, Mapping) and _is_empty(value):
            raise SpaceError(f"fix.{name}: low {value['low']!r} is above high {value['high']!r}.")
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
    """A space seen through rules; one of the same rules is equal, so that it is explored once."""

    def __init__(self, space: Space, rules: tuple[tuple[str, object], ...]) -> None:
        self.space = space
        self.rules = dict(rules)
        self._key = (space, repr(sorted(rules, key=lambda rule: rule[0])))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Narrowed) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

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


def _is_empty(rule: Mapping[object, object]) -> bool:
    low, high = rule.get("low"), rule.get("high")
    return isinstance(low, int | float) and isinstance(high, int | float) and low > high


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
