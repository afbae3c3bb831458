"""Promotion: hand-checked tables, and rungs that are blind."""

import random

import pytest

from orchestrator.engine.pausing import Pausing
from orchestrator.engine.rungs import Blindness, Floor, Rung
from orchestrator.engine.settings import Scheduler
from orchestrator.engine.trial import RunningLeg, Trial

SCHEDULER = Scheduler("asha", max_epochs=9, min_epochs=1, reduction=3)


def trial(number: int, *values: float, allowed: int | None = None, running: bool = False) -> Trial:
    """A trial with these values after epochs 1, 2, ...; paused unless it runs."""
    epoch = len(values)
    made = Trial(
        number=number, name="", candidate={}, digest=str(number), trace={}, seed=0, source="random", purpose="search",
        max_epochs=9, profile={}, share=1.0, allowed=allowed or epoch, epoch=epoch,
        scores={index + 1: (value,) for index, value in enumerate(values)},
    )  # fmt: skip
    if running:
        made.leg = RunningLeg(fence=number + 1, last_epoch=made.allowed, started=0.0)
    return made


def step(
    trials: list[Trial], *, closing: bool = False, scheduler: Scheduler = SCHEDULER
) -> tuple[int, int, bool] | None:
    tables = Pausing(scheduler)
    for known in trials:
        tables.update(known)
    found = tables.step(closing=closing)
    return None if found is None else (found.trial, found.to_epoch, found.judged)


def test_rungs_are_geometric_and_end_at_full_length() -> None:
    assert Scheduler("asha", max_epochs=27, min_epochs=1, reduction=3).rungs == (1, 3, 9, 27)
    assert Scheduler("asha", max_epochs=20, min_epochs=2, reduction=3).rungs == (2, 6, 18, 20)
    assert Scheduler("asha", max_epochs=4, min_epochs=4).rungs == (4,)
    assert Scheduler("none", max_epochs=27).rungs == (27,)


def test_one_in_three_is_promoted_as_results_arrive() -> None:
    table = [trial(0, 0.3), trial(1, 0.5)]
    assert step(table) is None  # two results: no third yet
    table.append(trial(2, 0.4))
    assert step(table) == (1, 3, True)
    table[1].allowed = 3  # promoted and waiting: the quota is used up
    assert step(table) is None
    table += [trial(3, 0.2), trial(4, 0.45), trial(5, 0.1)]
    assert step(table) == (4, 3, True)  # best two of six: 0.5 went on, 0.45 may


def test_the_highest_rung_promotes_first() -> None:
    table = [trial(n, 0.4, 0.5, 0.6 + 0.01 * n) for n in range(3)] + [
        trial(3, 0.5),
        *(trial(n, 0.3) for n in (4, 5)),
    ]
    assert step(table) == (2, 9, True)


def test_a_running_trial_is_not_promoted_twice() -> None:
    table = [trial(0, 0.5, allowed=3, running=True), trial(1, 0.4), trial(2, 0.3)]
    assert step(table) is None


def test_a_score_on_the_floor_is_never_promoted_for_its_score() -> None:
    table = [trial(0, 0.0), trial(1, 0.0), trial(2, 0.0)]
    assert step(table) == (
        0,
        3,
        False,
    )  # goes on because nobody can be ranked, not because it is the first of equals


def test_a_blind_rung_lets_silent_trials_go_on_until_they_are_known_not_to_rise() -> None:
    speaking = [trial(n, 0.2 + 0.1 * n, allowed=3, running=True) for n in range(4)]
    silent = [trial(n, 0.0) for n in (4, 5, 6, 7)]
    assert step(speaking + silent) == (4, 3, False)  # none went on yet, so nobody knows
    silent[0] = trial(4, 0.0, 0.0, 0.5)
    assert step(speaking + silent) == (5, 3, False)  # it rose: the rung is blind
    fell = [trial(4, 0.0, 0.0, 0.0), trial(5, 0.0, 0.0, 0.0), trial(6, 0.0, 0.0, 0.0), silent[3]]
    assert step(speaking + fell) is None  # three went on, none rose: now the floor is a verdict


def test_a_silent_trial_does_not_run_all_epochs_while_there_is_better_to_do() -> None:
    table = [trial(0, 0.0, 0.0, 0.0), trial(1, 0.0, 0.0, 0.0), trial(2, 0.0, 0.0, 0.0)]
    assert step(table) is None
    assert step(table, closing=True) == (0, 9, False)  # nothing else is left, and the rung cannot rank
    ranked = [trial(n, 0.1, 0.2, 0.3 + 0.1 * n, allowed=9, running=True) for n in (3, 4, 5)]
    assert step(table + ranked, closing=True) is None  # now the rung can rank, and judges


def test_at_the_end_idle_slots_promote_on_what_is_expected() -> None:
    table = [trial(0, 0.5), trial(1, 0.3), *(trial(n, allowed=1, running=True) for n in range(2, 6))]
    assert step(table) is None
    assert step(table, closing=True) == (0, 3, True)  # six will have reached the rung: two go on
    assert step([trial(0, 0.5)], closing=True) == (0, 3, True)  # at least one goes on from each rung


def test_a_trial_without_a_value_is_silent() -> None:
    mute = trial(2, 0.0)
    mute.scores = {}
    assert step([trial(0, 0.5, allowed=3, running=True), trial(1, 0.4), mute]) == (2, 3, False)


@pytest.mark.parametrize("seed", range(20))
def test_silence_and_blindness_are_what_a_full_count_says(seed: int) -> None:
    """The floor moves up and down as scores come; what is kept sorted agrees with looking at every trial anew."""
    rng = random.Random(seed)
    floor = Floor()
    lower, upper = Rung(1, floor), Rung(3, floor)
    blindness = Blindness(lower, upper, 3)
    pausing: set[int] = set()
    for number in range(150):
        score = rng.choice([None, (rng.choice([0.0, 0.001, 0.004, rng.random(), -rng.random() / 50]),)])
        lower.arrive(number, score, 0.0)
        lower.pause(number, pauses=True)
        pausing.add(number)
        for gone in rng.sample(sorted(pausing), min(len(pausing), rng.choice([0, 1, 2]))):
            lower.pause(gone, pauses=False)
            pausing.discard(gone)
            upper.arrive(gone, rng.choice([None, (rng.choice([0.0, 0.002, rng.random()]),)]), 0.0)
        if rng.random() < 0.6:  # not after each: what happened in between counts, too
            silent = [number for number in pausing if not lower.is_above(number)]
            assert lower.first_silent() == (min(silent) if silent else None)
            went_on = [number for number in upper.arrivals if not lower.is_above(number)]
            risen = sum(upper.is_above(number) for number in went_on)
            blind = lower.num_above() < 3 or not went_on or risen * 3 >= len(went_on)
            assert bool(blindness) == blind


def several(*vectors: tuple[float, float]) -> Rung:
    """A rung where trials 0, 1, ... of these scores pause; the floor is learned from those at 0."""
    rung = Rung(1, Floor())
    for number, vector in enumerate(vectors):
        rung.arrive(number, vector, 0.0)
        rung.pause(number, pauses=True)
    return rung


def test_the_first_front_goes_on_whole() -> None:
    rung = several((0.9, -5.0), (0.8, -4.0), (0.7, -3.0), (0.6, -6.0), (0.5, -2.0), (0.4, -6.0))
    gone = []
    while (best := rung.best_paused(1)) is not None:
        gone.append(best)
        rung.pause(best, pauses=False)
    assert sorted(gone) == [0, 1, 2, 4]  # of the others each is dominated


def test_a_silent_trial_goes_on_where_none_that_speaks_costs_as_little() -> None:
    rung = several((0.9, -5.0), (0.8, -4.0), (0.0, -9.0), (0.0, -3.0), (0.001, -4.0), (0.0, -6.0))
    assert [rung.is_above(number) for number in range(6)] == [True, True, False, False, False, False]
    assert rung.first_unrivalled() == 3
    rung.pause(3, pauses=False)
    assert rung.first_unrivalled() is None  # 4 costs as much as 1, which says something


def test_with_one_objective_silence_needs_a_blind_rung() -> None:
    rung = Rung(1, Floor())
    for number, score in enumerate((0.9, 0.0, 0.0, 0.0)):
        rung.arrive(number, (score,), 0.0)
        rung.pause(number, pauses=True)
    assert rung.first_unrivalled() is None and rung.first_silent() == 1
