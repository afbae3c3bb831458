"""Optuna's TPE on a history, in a time that does not grow with the history.

What takes the time is not the estimator. A study copies and checks each trial that is added, and TPE goes through all of them
for each decision, of which a candidate has about forty: it divides them into good and bad ones, and looks up their values. Here
the trials are handed to the sampler as they are, divided once an ask, and values are looked up once a trial. What is suggested
is the same to the last bit. With another version of Optuna than this was written for, its own way is taken.

What does grow is cut off: of more than ``MOST`` scored trials TPE sees the ``BEST`` best, and beside them the newest. It takes
at most 25 for good ones, so those are what they were; what the others are like it learns from fewer, and of those that are
left out, the older ones, its weights make little anyway.
"""

import heapq
import itertools
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from orchestrator.engine.sampler import History, Observation
from orchestrator.engine.study import MAX_UNSCORED, frozen_trial, optuna_parameters, study_of, suggest
from search_spaces.candidate import Candidate
from search_spaces.space import Space, Trace

MOST = 500
BEST = 50
MAX_RUNNING = 200  # newest first
KNOWN = "5.0."  # versions of Optuna whose sampler ``OneDivision`` looks into
CONSTRAINT = "constraints:excess"  # where Optuna keeps a trial's constraint of that name

Internal = Mapping[str, float]
Columns = dict[str, list[float]]
"""Values of each decision, in order of proposal, of the trials that made it."""
_tpe: Any = sys.modules[TPESampler.__module__]


class OneDivision(TPESampler):
    """Optuna's TPE, each decision by itself, on trials that are no study's and are divided once.

    Attributes:
        trials: What it learns from, numbered from 0.
        internal: The values of each, as Optuna computes with them.
    """

    trials: Sequence[FrozenTrial] = ()
    internal: Sequence[Internal] = ()
    _divided: tuple[Columns, Columns] | None = None

    def _sample(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        [(name, kind)] = search_space.items()
        if self._divided is None:
            self._divided = self._divide(study)
        good, bad = ({name: np.asarray(columns.get(name, ()))} for columns in self._divided)
        several = len(study.directions) > 1
        weights = np.ones(len(good[name])) if several else None  # Optuna does not weigh good ones by age then
        settings = self._parzen_estimator_parameters
        likely = self._parzen_estimator_cls(good, search_space, settings, weights)
        unlikely = self._parzen_estimator_cls(bad, search_space, settings)
        drawn = likely.sample(self._rng.rng, self._n_ei_candidates)
        best = TPESampler._compare(drawn, self._compute_acquisition_func(drawn, likely, unlikely))
        return {name: kind.to_external_repr(best[name])}

    def _divide(self, study: optuna.Study) -> tuple[Columns, Columns]:
        """The values of good trials and those of bad ones."""
        ended = sum(known.state != TrialState.RUNNING for known in self.trials)
        several = len(study.directions) > 1
        gamma = _tpe.default_gamma_multiobjective if several else _tpe.default_gamma
        good, bad = _tpe._split_trials(study, self.trials, gamma(ended))
        return self._columns(good), self._columns(bad)

    def _columns(self, trials: Sequence[FrozenTrial]) -> Columns:
        found: Columns = {}
        for trial in trials:
            for name, value in self.internal[trial.number].items():
                found.setdefault(name, []).append(value)
        return found


def ask(space: Space, history: History, *, rung: int, most: int, draws: int, seed: int) -> Candidate:
    """What TPE suggests that sees the newest scores of a rung, ``most`` of them, beside what runs and what broke down."""
    scores = {
        number: score
        for number, item in enumerate(history.observations)
        if item.violation <= 0 and (score := dict(item.scores).get(rung)) is not None
    }
    newest = dict(list(scores.items())[-most:])
    return _suggest(space, history, newest, known=scores.keys(), draws=draws, seed=seed)


def ask_ranked(space: Space, history: History, *, draws: int, seed: int, most: int = MOST) -> Candidate:
    """What TPE suggests that sees of scored trials the rank: by the highest rung reached, within it by the one objective."""
    known = [
        number for number, item in enumerate(history.observations) if item.scores and item.violation <= 0
    ]
    seen = known
    if len(known) > most:
        seen = heapq.nsmallest(BEST, known, key=lambda number: _place(history.observations[number]))
        others = set(seen)
        seen += _newest(known, most - BEST, lambda number: number not in others)
    order = sorted(seen, key=lambda number: (*_place(history.observations[number]), number))
    ranks = {number: (float(len(order) - place),) for place, number in enumerate(order)}
    return _suggest(space, history, ranks, known=frozenset(known), draws=draws, seed=seed)


def _newest(numbers: Sequence[int], most: int, shown: Callable[[int], bool]) -> list[int]:
    return list(itertools.islice(filter(shown, reversed(numbers)), most))


def _place(item: Observation) -> tuple[int, float]:
    """Sorts first who went furthest, and of these the best."""
    epoch, (score, *_) = item.scores[-1]
    return -epoch, -score


def _suggest(
    space: Space,
    history: History,
    scores: Mapping[int, tuple[float, ...]],
    *,
    known: Collection[int],
    draws: int,
    seed: int,
) -> Candidate:
    """What TPE suggests.

    Args:
        space: What may be chosen.
        history: Proposals so far.
        scores: What is shown of scored ones, by number.
        known: Numbers of all that have such a score; one that runs on counts as scored.
        draws: Values among which the best is taken.
        seed: Of the proposal.
    """
    observations = history.observations
    numbers = range(len(observations))
    broken = _newest(numbers, MAX_UNSCORED, lambda number: observations[number].violation > 0)
    running = _newest(
        numbers,
        MAX_RUNNING,
        lambda number: observations[number].state == "running" and number not in known,
    )
    states = dict.fromkeys(scores, TrialState.COMPLETE)
    states |= dict.fromkeys(broken, TrialState.PRUNED) | dict.fromkeys(running, TrialState.RUNNING)
    shown = [(observations[number], states[number], scores.get(number)) for number in sorted(states)]
    is_known = optuna.__version__.startswith(KNOWN)
    kind = OneDivision if is_known else TPESampler
    sampler = kind(n_startup_trials=0, n_ei_candidates=draws, multivariate=False, seed=seed % 2**32)
    trials: list[FrozenTrial] = []
    if isinstance(sampler, OneDivision):
        sampler.trials = [_bare(number, *what) for number, what in enumerate(shown)]
        sampler.internal = [_internal(space, _Identity(item.trace)) for item, _, _ in shown]
    else:
        trials = [frozen_trial(*what, parameters=optuna_parameters(space, what[0].trace)) for what in shown]
    return suggest(space, study_of(history, sampler, trials).ask())


def _bare(number: int, item: Observation, state: TrialState, score: tuple[float, ...] | None) -> FrozenTrial:
    """A trial by which trials are divided: without its values, copies and checks."""
    return FrozenTrial(
        number=number,
        state=state,
        value=None,
        values=score,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={} if state == TrialState.RUNNING else {CONSTRAINT: item.violation},
        intermediate_values={},
        trial_id=number,
    )


class _Identity:
    """A trace as a key: it never changes, and comparing it is dear."""

    __slots__ = ("trace",)

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def __hash__(self) -> int:
        return id(self.trace)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.trace is other.trace


@lru_cache(maxsize=20_000)
def _internal(space: Space, key: _Identity) -> Internal:
    params, distributions = optuna_parameters(space, key.trace)
    return {name: distributions[name].to_internal_repr(value) for name, value in params.items()}
