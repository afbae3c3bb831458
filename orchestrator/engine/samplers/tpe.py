"""Tree-structured Parzen estimator: Optuna's, over a study rebuilt from the history at each proposal.

A rung has its own study: a trial that reached the rung stands there complete, with its value at that rung, and values of
different epochs never mix. The sampler asks on the highest rung that knows enough.

Source: Bergstra et al. 2011, "Algorithms for hyper-parameter optimization", section 4; proposals that broke a limit are
    ranked below all others by their excess, as Optuna does.
Deviations: the parameter's name carries the digest of its domain, as the domain at a path may depend on other choices and
    Optuna refuses a changed one under the same name.
"""

import functools
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.engine.sampler import History, Observation, Sampler
from search_spaces.candidate import Candidate
from search_spaces.domain import Choice, Domain, Integer, Real, quantise
from search_spaces.register import entry
from search_spaces.space import Space, Trace, domains_of, sample, trace_of

T = TypeVar("T")
MAX_UNSCORED = (
    100  # failed and rejected proposals shown to the estimator, newest first: there may be many more
)


@entry("tpe")
@dataclass(frozen=True, slots=True)
class TreeParzen(Sampler):
    """Optuna's TPE, each decision by itself, with trials that still run counted as bad.

    Attributes:
        startup: Proposals are random until a rung holds this many scores (Optuna's default, 10).
        draws: Values among which the best expected improvement is taken (Optuna's default, 24).
    """

    startup: int = 10
    draws: int = 24

    def propose(self, space: Space, history: History, *, seed: int) -> Candidate:
        """A candidate like the good ones of the highest rung that holds enough scores."""
        rung = self.rung(history)
        if rung is None:
            return sample(space, random.Random(seed))
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=0, n_ei_candidates=self.draws, multivariate=False, seed=seed % 2**32
        )
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            study = optuna.create_study(directions=["maximize"] * history.num_objectives, sampler=sampler)
        finally:
            optuna.logging.set_verbosity(before)
        study.add_trials(study_trials(space, history, rung=rung))
        return suggest(space, study.ask())

    def rung(self, history: History) -> int | None:
        """Epochs of the highest rung with at least ``startup`` scores, if any."""
        counts = dict.fromkeys(history.rungs, 0)
        for observation in history.observations:
            for epoch, _ in observation.scores:
                counts[epoch] += 1
        return max((epoch for epoch, count in counts.items() if count >= self.startup), default=None)


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


def study_trials(space: Space, history: History, *, rung: int) -> list[FrozenTrial]:
    """The trials of a rung's study, in order of proposal: scored at the rung, running, and the newest that broke down."""
    broken = [number for number, item in enumerate(history.observations) if item.violation > 0]
    shown = set(broken[-MAX_UNSCORED:])
    trials = []
    for number, observation in enumerate(history.observations):
        score = dict(observation.scores).get(rung)
        if number in shown:
            trials.append(_trial(space, observation, TrialState.PRUNED, None))
        elif score is not None and observation.violation <= 0:
            trials.append(_trial(space, observation, TrialState.COMPLETE, score))
        elif observation.state == "running":
            trials.append(_trial(space, observation, TrialState.RUNNING, None))
    return trials


def _trial(
    space: Space, observation: Observation, state: TrialState, score: tuple[float, ...] | None
) -> FrozenTrial:
    params, distributions = _parameters(space, json.dumps(observation.trace))
    return create_trial(
        state=state,
        values=score,
        params=dict(params),
        distributions=dict(distributions),
        constraints=None if state == TrialState.RUNNING else {"excess": observation.violation},
    )


@functools.lru_cache(maxsize=20_000)
def _parameters(space: Space, trace: str) -> tuple[Mapping[str, Any], Mapping[str, BaseDistribution]]:
    """What Optuna calls a trace; a trace never changes, so each is worked out once.

    The key is the JSON text, as the values themselves would let True stand for 1.
    """
    values: Trace = json.loads(trace)
    domains = domains_of(space, values)
    names = {path: parameter_name(path, domain) for path, domain in domains.items()}
    params = {names[path]: values[path] for path in domains}
    return params, {names[path]: _distribution(domain) for path, domain in domains.items()}


def _distribution(domain: Domain[Any]) -> BaseDistribution:
    match domain:
        case Choice():
            return CategoricalDistribution(cast(Any, domain.labels))
        case Integer(low=low, high=high, step=step, log=log):
            return IntDistribution(low, high, log=log, step=step)
        case Real(low=low, high=high, log=log):
            return FloatDistribution(low, high, log=log)
    raise TypeError(f"the sampler 'tpe' knows no domain {type(domain).__name__}; use the sampler 'random'")
