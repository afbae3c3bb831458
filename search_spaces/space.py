"""A space is a function; a candidate is its value; an encoding is its trace.

``space(choose) -> Candidate`` calls ``choose(path, domain)`` for each decision and says conditions with
``if``. The path is where the value stands in the candidate: ``architecture.encoder.width``,
``loss.terms.1.term.kind``; the number of items of a tuple is ``....length``, whether there is a part that may be
missing ``....present``. Everything else is another ``choose`` over the same function.
"""

import importlib
import pkgutil
import random
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from search_spaces.candidate import Candidate, canonical, digest, to_json
from search_spaces.domain import Choice, Domain, Integer, Real, Scalar
from search_spaces.errors import NotInSpaceError, SpaceError
from search_spaces.register import unknown_name

__all__ = [
    "Choice", "Choose", "Domain", "Integer", "Real", "Scalar", "Space", "Trace",
    "crossover", "decode", "domains_of", "encode", "load_space", "mutate", "neighbours", "sample",
    "space_names", "trace_of",
]  # fmt: skip

T = TypeVar("T")
Trace = dict[str, Scalar]
MUTATION_TRIES = 200
ENCODE_TRIES = 64  # of values that stand in for those of a canonical form
CHECKS, MOST_DECISIONS = 5, 10_000  # of a user's space


class Choose(Protocol):
    """Makes the decision at a path."""

    def __call__(self, path: str, domain: Domain[T], /) -> T: ...


Space = Callable[[Choose], Candidate]


def sample(space: Space, rng: random.Random) -> Candidate:
    """A candidate at random."""

    def choose(path: str, domain: Domain[T]) -> T:
        return domain.draw(rng)

    return canonical(space(choose))


def decode(space: Space, trace: Trace) -> Candidate:
    """The candidate of a trace.

    Raises:
        SpaceError: A decision is missing, left over, or outside its domain.
    """
    used: set[str] = set()

    def choose(path: str, domain: Domain[T]) -> T:
        if path not in trace:
            raise SpaceError(f"trace: the decision {path} is missing; allowed are {domain}.")
        used.add(path)
        try:
            return domain.from_scalar(trace[path])
        except SpaceError as error:
            raise SpaceError(f"trace: {path}: {error}") from None

    candidate = canonical(space(choose))
    if left := sorted(trace.keys() - used):
        raise SpaceError(f"trace: {left[0]} is no decision of this candidate; remove it.")
    return candidate


def encode(space: Space, candidate: Candidate) -> Trace:
    """The trace of a candidate's canonical form; that there is one proves that the space holds the candidate.

    Where something matters so little that its canonical form is another value than the space has, one that means the same
    is looked for.

    Raises:
        NotInSpaceError: The space does not hold it; the message names the path, the value and what is
            allowed.
    """
    wanted = canonical(candidate)
    first: SpaceError | None = None
    waiting: list[dict[str, int]] = [{}]  # by path which option stands in for a value that is not there
    for _ in range(ENCODE_TRIES):
        if not waiting:
            break
        stand_ins = waiting.pop()

        def choose(path: str, domain: Domain[T], stand_ins: dict[str, int] = stand_ins) -> T:
            nonlocal first
            try:
                value = _at(wanted, path)
                if domain.contains(value):
                    return domain.from_scalar(domain.to_scalar(cast(T, value)))
                refusal = NotInSpaceError(f"{path}: {value!r} is not in the space; allowed are {domain}.")
            except NotInSpaceError as error:
                refusal = error
            first = first or refusal
            options = domain.values()
            if not options:
                raise refusal
            if path not in stand_ins:
                waiting.extend({**stand_ins, path: option} for option in reversed(range(1, len(options))))
                stand_ins[path] = 0
            return options[stand_ins[path]]

        try:
            found, trace = trace_of(space, choose)
        except SpaceError as error:
            first = first or error
            continue
        if found == wanted:
            return trace
        first = first or NotInSpaceError(_difference(to_json(wanted), to_json(found), ""))
        if _always(found) != _always(wanted):
            break
    assert first is not None, "each try that fails says why"
    raise first


def _always(candidate: Candidate) -> tuple[object, ...]:
    """What matters in every network, so that nothing stands in for it: presets of other spaces differ here at once."""
    network = candidate.architecture
    return type(network.encoder), type(network.decoder), network.front, network.norm, network.activation


def trace_of(space: Space, choose: Choose) -> tuple[Candidate, Trace]:
    """Run a space with any ``choose``: the canonical candidate, and the decisions as they were made."""
    trace: Trace = {}

    def record(path: str, domain: Domain[T]) -> T:
        value = choose(path, domain)
        trace[path] = domain.to_scalar(value)
        return value

    return canonical(space(record)), trace


def domains_of(space: Space, trace: Trace) -> dict[str, Domain[object]]:
    """The domain of each decision of a trace, in the order in which the space asks."""
    domains: dict[str, Domain[object]] = {}

    def choose(path: str, domain: Domain[T]) -> T:
        domains[path] = cast(Domain[object], domain)
        return domain.from_scalar(trace[path])

    space(choose)
    return domains


def mutate(space: Space, candidate: Candidate, rng: random.Random) -> Candidate:
    """Another candidate, one decision away; decisions that this opens are drawn, those that it closes vanish.

    Raises:
        SpaceError: The space seems to hold nothing else.
    """
    trace = encode(space, candidate)
    domains = domains_of(space, trace)
    open_paths = [
        path for path, domain in domains.items() if (values := domain.values()) is None or len(values) > 1
    ]
    old = digest(candidate)
    for _ in range(MUTATION_TRIES if open_paths else 0):
        path = open_paths[int(rng.random() * len(open_paths))]
        domain = domains[path]
        value = domain.to_scalar(domain.draw(rng))
        if value == trace[path]:
            continue
        child = _repair(space, trace | {path: value}, rng)
        if digest(child) != old:
            return child
    raise SpaceError("mutate: no other candidate found; the space holds one only, or nearly so.")


def crossover(space: Space, first: Candidate, second: Candidate, rng: random.Random) -> Candidate:
    """A child that takes each part (encoder, context, loss, ...) whole from one parent or the other."""
    parents = (encode(space, first), encode(space, second))
    sides: dict[str, int] = {}
    merged: Trace = {}
    for path in dict.fromkeys([*parents[0], *parents[1]]):
        part = ".".join(path.split(".")[:2])
        if part not in sides:
            sides[part] = int(rng.random() * 2)
        source = parents[sides[part]]
        if path in source:
            merged[path] = source[path]
    return _repair(space, merged, rng)


def neighbours(space: Space, candidate: Candidate) -> list[Candidate]:
    """Every other candidate one step of one decision away; decisions that this opens take first values."""
    trace = encode(space, candidate)
    found = {digest(candidate): candidate}
    for path, domain in domains_of(space, trace).items():
        for value in domain.neighbours(domain.from_scalar(trace[path])):
            near = _repair(space, trace | {path: domain.to_scalar(value)}, None)
            found.setdefault(digest(near), near)
    return list(found.values())[1:]


def space_names() -> tuple[str, ...]:
    """Names of the ready-made spaces, sorted."""
    package = importlib.import_module("search_spaces.spaces")
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))


def load_space(name: str) -> Space:
    """A ready-made space by its name, or a user's by ``module:function``.

    Raises:
        SpaceError: There is no such space, module or function.
    """
    module, _, function = name.partition(":")
    if not function:
        if name not in space_names():
            raise SpaceError(f"space: {unknown_name('space', name, space_names())} Or write module:function.")
        module, function = f"search_spaces.spaces.{name}", name
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SpaceError(f"space: {name!r} cannot be loaded ({error}); write module:function.") from error
    if not callable(found):
        raise SpaceError(f"space: {name!r} is no function; a space is called with choose(path, domain).")
    if function != name:
        _check(name, cast(Space, found))
    return cast(Space, found)


def _check(name: str, space: Space) -> None:
    """Run a user's space some times.

    Raises:
        SpaceError: One path is asked for twice, there is no end of questions, or what it returns is no
            candidate.
    """
    for seed in range(CHECKS):
        rng, asked = random.Random(seed), dict[str, Domain[object]]()

        def choose(
            path: str, domain: Domain[T], asked: dict[str, Domain[object]] = asked, rng: random.Random = rng
        ) -> T:
            if path in asked:
                raise SpaceError(
                    f"space {name}: {path} is chosen twice, once among {asked[path]}, once among {domain}; "
                    "ask once and keep the value."
                )
            asked[path] = cast(Domain[object], domain)
            if len(asked) > MOST_DECISIONS:
                raise SpaceError(
                    f"space {name}: more than {MOST_DECISIONS:,} decisions for one candidate, the last about {path}; "
                    "it seems never to return."
                )
            return domain.draw(rng)

        candidate = space(choose)
        if not isinstance(candidate, Candidate):
            raise SpaceError(f"space {name}: it returned {candidate!r}; a Candidate is needed.")


def _repair(space: Space, trace: Trace, rng: random.Random | None) -> Candidate:
    """Decode what fits; draw the rest, or take first values where there is no generator."""

    def choose(path: str, domain: Domain[T]) -> T:
        if path in trace:
            try:
                return domain.from_scalar(trace[path])
            except SpaceError:
                pass
        return domain.first if rng is None else domain.draw(rng)

    return canonical(space(choose))


def _at(candidate: Candidate, path: str) -> object:
    value: object = candidate
    for part in path.split("."):
        if isinstance(value, tuple) and part == "length":
            value = len(value)
        elif part == "present":
            value = value is not None
        elif isinstance(value, tuple) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif not isinstance(value, tuple) and hasattr(value, part):
            value = getattr(value, part)
        else:
            raise NotInSpaceError(f"{path}: the candidate has no such part; the space decides about it here.")
    return value


def _difference(wanted: object, found: object, path: str) -> str:
    """One sentence about the first place where two JSON values differ."""
    if isinstance(wanted, dict) and isinstance(found, dict) and wanted.keys() == found.keys():
        pairs = [(str(key), wanted[key], found[key]) for key in wanted]
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = [(str(index), *both) for index, both in enumerate(zip(wanted, found, strict=True))]
    else:
        return f"{path}: {wanted!r} is not in the space; here it is always {found!r}."
    key, left, right = next(pair for pair in pairs if pair[1] != pair[2])
    return _difference(left, right, f"{path}.{key}" if path else key)
