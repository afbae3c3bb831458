"""Samplers: laws of all of them, and what is special to TPE."""

import random
import statistics
import time
from types import SimpleNamespace

import pytest
from optuna import Study
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from orchestrator.engine.sampler import History, Observation, Sampler
from orchestrator.engine.samplers.tpe import TreeParzen
from orchestrator.engine.study import (
    GENERATIONS,
    Shown,
    highest_rung,
    parameter_name,
    study_of,
    study_trials,
)
from search_spaces.domain import Choice, Real
from search_spaces.register import kinds, lookup
from search_spaces.space import encode, load_space, sample

RUNGS = (1, 3, 9)


def observations(toys: SimpleNamespace, count: int, seed: int = 0) -> tuple[Observation, ...]:
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        candidate = sample(toys.space, rng)
        made.append(Observation(encode(toys.space, candidate), "scored", ((1, (toys.quality(candidate),)),)))
    return tuple(made)


@pytest.mark.parametrize("kind", kinds(Sampler))
def test_proposals_lie_in_the_space_and_depend_on_history_and_seed_alone(
    toys: SimpleNamespace, kind: str
) -> None:
    sampler = lookup(Sampler, kind)()
    state = random.getstate()
    for count in (0, 15, 45):  # nothing known, a model's first data, more than a population
        history = History(observations(toys, count), RUNGS)
        first = sampler.propose(toys.space, history, seed=7)
        assert sampler.propose(toys.space, history, seed=7) == first
        if not count:  # a model may find the same optimum with any seed
            assert sampler.propose(toys.space, history, seed=8) != first
        encode(toys.space, first)
    assert random.getstate() == state


@pytest.mark.parametrize("kind", kinds(Sampler))
def test_a_ready_made_space_can_be_sampled(kind: str) -> None:
    space, rng = load_space("compact"), random.Random(1)
    seen = [encode(space, sample(space, rng)) for _ in range(27)]
    states = [Observation(trace, "scored", ((1, (index / 25,)),)) for index, trace in enumerate(seen[:25])]
    states += [Observation(seen[25], "running"), Observation(seen[26], "rejected", violation=0.5)]
    sampler = lookup(Sampler, kind)()
    encode(space, sampler.propose(space, History(tuple(states), RUNGS), seed=3))


@pytest.mark.parametrize("kind", kinds(Sampler))
def test_two_objectives_are_understood(toys: SimpleNamespace, kind: str) -> None:
    seen = [
        Observation(item.trace, "scored", ((1, (item.scores[0][1][0], number % 7)),))
        for number, item in enumerate(observations(toys, 45))
    ]
    sampler, history = lookup(Sampler, kind)(), History(tuple(seen), RUNGS, 2)
    first = sampler.propose(toys.space, history, seed=7)
    assert sampler.propose(toys.space, history, seed=7) == first
    encode(toys.space, first)


def late_quality(toys: SimpleNamespace, sampler: Sampler, seed: int) -> float:
    """Mean quality of proposals 21 to 30: what the sampler learned from the 20 before."""
    known: list[Observation] = []
    for number in range(30):
        candidate = sampler.propose(toys.space, History(tuple(known), (1,)), seed=seed * 1000 + number)
        trace = encode(toys.space, candidate)
        known.append(Observation(trace, "scored", ((1, (toys.quality(candidate),)),)))
    return statistics.mean(observation.scores[0][1][0] for observation in known[20:])


def test_tpe_beats_random_on_a_conditional_space(toys: SimpleNamespace) -> None:
    seeds = range(2)
    tpe = statistics.mean(late_quality(toys, TreeParzen(), seed) for seed in seeds)
    independent = statistics.mean(late_quality(toys, lookup(Sampler, "random")(), seed) for seed in seeds)
    assert tpe > independent + 0.1


def test_the_highest_rung_with_enough_scores_is_asked() -> None:
    def history(*counts: int) -> History:
        made = []
        for number in range(counts[0]):
            scores = tuple(
                (epoch, (0.5,)) for epoch, count in zip(RUNGS, counts, strict=True) if number < count
            )
            made.append(Observation({}, "scored", scores))
        return History(tuple(made), RUNGS)

    assert highest_rung(history(3, 0, 0), 4) is None
    assert highest_rung(history(9, 3, 1), 4) == 1
    assert highest_rung(history(9, 4, 3), 4) == 3


def test_a_study_holds_one_rung_only(toys: SimpleNamespace) -> None:
    seen = observations(toys, 6)
    traces = [observation.trace for observation in seen]
    history = History(
        (
            Observation(traces[0], "scored", ((1, (0.1,)), (3, (0.2,)))),
            Observation(traces[1], "scored", ((1, (0.3,)),)),  # paused below the rung: not part of its study
            Observation(traces[2], "running", ((1, (0.4,)),)),
            Observation(traces[3], "failed", violation=1.0),
            Observation(traces[4], "rejected", violation=0.25),
        ),
        RUNGS,
    )
    trials = study_trials(history, Shown(3), lambda _: ({}, {}))
    assert [trial.state.name for trial in trials] == ["COMPLETE", "RUNNING", "PRUNED", "PRUNED"]
    assert trials[0].value == 0.2
    assert [trial.constraints.get("excess") for trial in trials] == [0.0, None, 1.0, 0.25]


@pytest.mark.parametrize("kind", ["nsga2", "nsga3"])
def test_first_generations_of_many_are_shown_as_one_of_their_best(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, rng = load_space("compact"), random.Random(1)
    size, extra = 20, 7
    trace = encode(space, sample(space, rng))
    values = [rng.random() for _ in range((GENERATIONS + 3) * size + extra)]
    shown: list[list[tuple[int, float]]] = []

    def note(history: History, sampler: BaseSampler, trials: list[FrozenTrial]) -> Study:
        key = f"{type(sampler).__name__}:generation"
        shown.append([(trial.system_attrs[key], trial.values[0]) for trial in trials])
        return study_of(history, sampler, trials)

    monkeypatch.setattr("orchestrator.engine.study.study_of", note)
    sampler = lookup(Sampler, kind)()
    for count in (GENERATIONS * size + size - 1, len(values)):
        seen = [Observation(trace, "scored", ((1, (value, -value)),)) for value in values[:count]]
        sampler.propose(space, History(seen, RUNGS, 2), seed=3)
    whole, bounded = shown
    assert whole == [(place // size, value) for place, value in enumerate(values[: len(whole)])]
    assert [generation for generation, _ in bounded] == sorted(
        [*range(GENERATIONS + 1)] * size + [GENERATIONS + 1] * extra
    )
    assert [value for _, value in bounded[size:]] == values[3 * size :]


def test_what_stands_for_the_first_generations_is_the_best_of_them() -> None:
    values = [random.Random(place).random() for place in range(45)]
    seen = [Observation({}, "scored", ((1, (value,)),)) for value in values]
    trials = study_trials(History(seen, RUNGS), Shown(1, most=25, elite=10), lambda _: ({}, {}))
    assert sorted(trial.value or 0.0 for trial in trials[:10]) == sorted(values[:20])[10:]
    assert [trial.value for trial in trials[10:]] == values[20:]


def test_another_domain_at_a_path_is_another_parameter() -> None:
    assert parameter_name("a", Choice((1, 2))) != parameter_name("a", Choice((1, 3)))
    assert parameter_name("a", Real(0.0, 1.0)) == parameter_name("a", Real(0.0, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("objectives", (1, 2))
@pytest.mark.parametrize("kind", kinds(Sampler))
def test_time_of_a_proposal_after_a_thousand(
    kind: str, objectives: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints CPU milliseconds of a proposal on ``compact``; the bound only catches what would stall a driver."""
    space, rng = load_space("compact"), random.Random(1)
    seen = [
        Observation(
            encode(space, sample(space, rng)), "scored", ((1, (rng.random(), rng.random())[:objectives]),)
        )
        for _ in range(1000)
    ]
    sampler, history = lookup(Sampler, kind)(), History(tuple(seen), RUNGS, objectives)
    sampler.propose(space, history, seed=0)  # what is worked out once for each trial
    begun = time.process_time()
    for seed in range(1, 4):
        sampler.propose(space, history, seed=seed)
    took = (time.process_time() - begun) / 3
    with capsys.disabled():
        print(f"\n{kind}, {objectives} objective(s): {1000 * took:.1f} ms")
    assert took < 60
