"""Optuna's studies, rebuilt from the history at each proposal: nothing is kept between asks.

A rung has its own study: a trial that reached the rung stands there complete, with its values at that rung, and values of
different epochs never mix. A sampler asks on the highest rung that knows enough.

``ask_encoded`` shows the fixed-width encoding, where every trial has every parameter: samplers that relate decisions to each
other (genetic, Gaussian process) drop what some trials do not have, and would see little of a conditional space. What looks at
one decision at a time (``parzen``) sees each as it is made.

Deviations: a parameter's name carries the digest of its domain, as the domain at a path may depend on other choices and
    Optuna refuses a changed one under the same name.
"""

import functools
import json
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.engine.encoding import Encoding, encoding_of
from orchestrator.engine.pareto import ranking
from orchestrator.engine.sampler import History, Observation
from search_spaces.candidate import Candidate
from search_spaces.domain import Choice, Domain, Integer, Real, quantise
from search_spaces.space import Space, Trace, domains_of, sample, trace_of

T = TypeVar("T")
Parameters = tuple[Mapping[str, Any], Mapping[str, BaseDistribution]]
Attributes = Callable[[int], Mapping[str, Any]]
"""What a sampler keeps with a trial, by its place among the complete trials of the study."""

GENERATIONS = 10  # that a genetic sampler sees as they were
MAX_UNSCORED = 100  # failed and rejected proposals shown to the sampler, newest first: there may be many more


@dataclass(frozen=True, slots=True)
class Shown:
    """What of a history a study holds.

    Attributes:
        rung: Epochs of the rung.
        most: Complete trials at most, the newest; None shows all.
        elite: Of the complete trials that are older, so many are shown, too: the best by front and crowding, found so many at a
            time as an elitist algorithm would.
    """

    rung: int
    most: int | None = None
    elite: int = 0


def highest_rung(history: History, enough: int) -> int | None:
    """Epochs of the highest rung with at least ``enough`` scores, if any."""
    counts = dict.fromkeys(history.rungs, 0)
    top = history.rungs[-1]
    for observation in history.observations:
        for epoch, _ in observation.scores:
            counts[epoch] += 1
        if counts[top] >= enough:
            return top
    return max((epoch for epoch, count in counts.items() if count >= enough), default=None)


def ask_encoded(
    space: Space,
    history: History,
    *,
    sampler: BaseSampler,
    shown: Shown,
    attributes: Attributes = lambda _: {},
) -> Candidate:
    """What a sampler of Optuna suggests when it sees the fixed-width encoding."""
    encoding = encoding_of(space)
    trials = study_trials(
        history, shown, lambda trace: _encoded(space, json.dumps(trace)), attributes=attributes
    )
    trial = study_of(history, sampler, trials).ask()
    point = []
    for path in encoding.axes:
        found = _axis(encoding, path)
        if isinstance(found, CategoricalDistribution):
            place = cast(int, trial.suggest_categorical(path, found.choices))
            point.append((place + 0.5) / len(found.choices))
        else:
            point.append(trial.suggest_float(path, 0.0, 1.0))
    return encoding.candidate(point)


def ask_generation(
    space: Space, history: History, make: Callable[..., BaseSampler], *, population: int, seed: int
) -> Candidate:
    """What a genetic sampler of Optuna suggests, at the highest rung that has a full generation; before, a random candidate.

    A generation is the next ``population`` trials that reached the rung, in order of proposal, so it follows from the history
    alone and no slot waits for the last of a generation. Of more than ``GENERATIONS`` full ones the first are shown as one: the
    best of theirs, which is what an elitist algorithm keeps of them.

    Args:
        space: What may be chosen.
        history: Proposals so far.
        make: The sampler's class.
        population: Trials of a generation.
        seed: Of the proposal.
    """
    rung = highest_rung(history, population)
    if rung is None:
        return sample(space, random.Random(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of a sampler that a user chose by its name
        sampler = make(population_size=population, seed=seed % 2**32)
    reached = sum(item.violation <= 0 and rung in dict(item.scores) for item in history.observations)
    first = max(0, reached // population - GENERATIONS)  # generation that is shown as it is
    return ask_encoded(
        space,
        history,
        sampler=sampler,
        shown=Shown(rung, most=reached - first * population, elite=population),
        attributes=lambda place: {
            f"{make.__name__}:generation": max(0, place // population - first + (first > 0))
        },
    )


def suggest(space: Space, trial: optuna.Trial) -> Candidate:
    """Run a space with an Optuna trial as its ``choose``."""

    def choose(path: str, domain: Domain[T]) -> T:
        distribution = _distribution(domain)
        name = parameter_name(path, domain)
        match distribution:
            case CategoricalDistribution():
                return domain.from_scalar(trial.suggest_categorical(name, distribution.choices))
            case IntDistribution(low=low, high=high, step=step, log=log):
                return domain.from_scalar(trial.suggest_int(name, low, high, step=step, log=log))
            case FloatDistribution(low=low, high=high, log=log):
                drawn = quantise(trial.suggest_float(name, low, high, log=log))
                return domain.from_scalar(min(max(drawn, low), high))
        raise AssertionError(distribution)

    return trace_of(space, choose)[0]


def parameter_name(path: str, domain: Domain[Any]) -> str:
    """Optuna's name of a decision: at one path, each domain is a parameter of its own."""
    return f"{path}@{domain.digest[:8]}"


def optuna_parameters(space: Space, trace: Trace) -> Parameters:
    """Values and distributions of a trace, as ``suggest`` names them."""
    return _parameters(space, json.dumps(trace))


def study_trials(
    history: History,
    shown: Shown,
    parameters: Callable[[Trace], Parameters],
    *,
    attributes: Attributes = lambda _: {},
) -> list[FrozenTrial]:
    """The trials of a rung's study, in order of proposal: scored at the rung, running, and the newest that broke down."""
    broken = [number for number, item in enumerate(history.observations) if item.violation > 0]
    kept = set(broken[-MAX_UNSCORED:])
    complete = [
        number
        for number, item in enumerate(history.observations)
        if item.violation <= 0 and shown.rung in dict(item.scores)
    ]
    places = {number: place for place, number in enumerate(complete)}
    older = 0 if shown.most is None else max(0, len(complete) - shown.most)
    kept |= set(complete[older:])
    if shown.elite:
        kept |= set(_elite(history, complete[:older], shown))
    trials = []
    for number, observation in enumerate(history.observations):
        score = dict(observation.scores).get(shown.rung)
        if number in kept and number in places:
            state, more = TrialState.COMPLETE, attributes(places[number])
        elif number in kept:
            state, score, more = TrialState.PRUNED, None, {}
        elif observation.state == "running" and number not in places:
            state, more = TrialState.RUNNING, {}
        else:
            continue
        trials.append(
            frozen_trial(observation, state, score, parameters=parameters(observation.trace), attributes=more)
        )
    return trials


def _elite(history: History, numbers: Sequence[int], shown: Shown) -> list[int]:
    """The best of these complete trials, found generation by generation, which takes a time that grows as they do."""
    best: list[int] = []
    for first in range(0, len(numbers), shown.elite):
        pool = [*best, *numbers[first : first + shown.elite]]
        scores = [dict(history.observations[number].scores)[shown.rung] for number in pool]
        best = [pool[place] for place in ranking(scores, [0.0] * len(pool))[: shown.elite]]
    return best


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna's own lines of information left out for a while."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def study_of(history: History, sampler: BaseSampler, trials: list[FrozenTrial]) -> optuna.Study:
    """A study of these trials, for the objectives of a history."""
    with quiet():
        study = optuna.create_study(directions=["maximize"] * history.num_objectives, sampler=sampler)
    study.add_trials(trials)
    return study


def frozen_trial(
    observation: Observation,
    state: TrialState,
    score: tuple[float, ...] | None,
    *,
    parameters: Parameters,
    attributes: Mapping[str, Any] = MappingProxyType({}),
) -> FrozenTrial:
    """A proposal as a trial that a study takes in."""
    params, distributions = parameters
    trial = create_trial(
        state=state,
        values=score if state == TrialState.COMPLETE else None,
        system_attrs=dict(attributes),
        constraints=None if state == TrialState.RUNNING else {"excess": observation.violation},
    )
    trial.distributions, trial.params = _Shared(distributions), _Shared(params)
    return trial


class _Shared(dict[str, Any]):
    """A dictionary that a deep copy shares: Optuna copies each trial that is added, and changes none that has ended."""

    def __deepcopy__(self, memo: object) -> "_Shared":
        return self


@functools.lru_cache(maxsize=20_000)
def _parameters(space: Space, trace: str) -> Parameters:
    """What Optuna calls a trace; a trace never changes, so each is worked out once.

    The key is the JSON text, as the values themselves would let True stand for 1.
    """
    values: Trace = json.loads(trace)
    domains = domains_of(space, values)
    names = {path: parameter_name(path, domain) for path, domain in domains.items()}
    params = {names[path]: values[path] for path in domains}
    return params, {names[path]: _distribution(domain) for path, domain in domains.items()}


@functools.lru_cache(maxsize=20_000)
def _encoded(space: Space, trace: str) -> Parameters:
    """A trace as a point of the encoding; an axis without order as the number of its value."""
    encoding = encoding_of(space)
    distributions = {path: _axis(encoding, path) for path in encoding.axes}
    params: dict[str, Any] = {}
    for (path, distribution), unit in zip(
        distributions.items(), encoding.point(json.loads(trace)), strict=True
    ):
        if isinstance(distribution, CategoricalDistribution):
            params[path] = int(unit * len(distribution.choices))
        else:
            params[path] = unit
    return params, distributions


def _axis(encoding: Encoding, path: str) -> BaseDistribution:
    domains = encoding.domains[path]
    if encoding.is_numeric(path) or len(domains) > 1:
        return FloatDistribution(0.0, 1.0)
    return CategoricalDistribution(range(len(cast(Choice[Any], domains[0]).options)))


def _distribution(domain: Domain[Any]) -> BaseDistribution:
    match domain:
        case Choice():
            return CategoricalDistribution(cast(Any, domain.labels))
        case Integer(low=low, high=high, step=step, log=log):
            return IntDistribution(low, high, log=log, step=step)
        case Real(low=low, high=high, log=log):
            return FloatDistribution(low, high, log=log)
    raise TypeError(f"Optuna's samplers know no domain {type(domain).__name__}; use the sampler 'random'")
