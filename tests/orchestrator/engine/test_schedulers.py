"""What is special to each scheduler: hand-checked tables, and how often a stop was wrong."""

import math
import random
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import pytest

from orchestrator.engine.leaderboard import leaderboard
from orchestrator.engine.objective import Vector
from orchestrator.engine.pausing import Pausing
from orchestrator.engine.schedule import Promotion
from orchestrator.engine.settings import STOPPING, Kind, Scheduler
from orchestrator.engine.stopping import CHANCE, Stopping, power_law
from orchestrator.engine.trial import Trial
from orchestrator.executors.simulated import Recording
from search_spaces.candidate import Candidate


def trial(number: int, *scores: float | Vector, allowed: int | None = None, macs: float = 1.0) -> Trial:
    """A trial that pauses after these scores of epochs 1, 2, ..."""
    epoch = len(scores)
    return Trial(
        number=number, name="", candidate={}, digest=str(number), trace={}, seed=0, source="random", purpose="search",
        max_epochs=9, profile={"macs": macs}, share=1.0, allowed=epoch if allowed is None else allowed, epoch=epoch,
        scores={i: s if isinstance(s, tuple) else (s,) for i, s in enumerate(scores, start=1)},
    )  # fmt: skip


def paused(
    kind: Kind, trials: list[Trial], *, closing: bool = False, max_epochs: int = 9
) -> Promotion | None:
    tables = Pausing(Scheduler(kind, max_epochs=max_epochs))
    for known in trials:
        tables.update(known)
    return tables.step(closing=closing)


def stopping(kind: Kind, trials: list[Trial], *, max_epochs: int = 9) -> Stopping:
    tables = Stopping(Scheduler(kind, max_epochs=max_epochs))
    for known in trials:
        tables.update(known)
    return tables


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_scheduler_finds_a_good_trial_and_judges_all(toys: SimpleNamespace, kind: Kind) -> None:
    driver = toys.Driver(toys.settings(trials=30, slots=4, scheduler=Scheduler(kind, max_epochs=27)))
    assert driver.run() == "trials"
    trials = driver.engine.state.trials
    assert {t.verdict for t in trials} <= {"completed", "stopped"}
    assert all(t.message for t in trials if t.verdict == "stopped")
    kinds = Counter(event.kind for event in driver.log.events)
    if kind != "none":
        assert kinds["epoch"] < 30 * 27
        assert bool(kinds["halted"]) == (kind in STOPPING) != bool(kinds["promoted"])
    # These curves do not cross, so the best candidate is never passed over (hyperband may, by its brackets).
    best = max(t.scores[1] for t in trials)
    if kind != "hyperband":
        assert driver.engine.state.trials[leaderboard(driver.engine.state)[0].trial].scores[1] == best


@pytest.mark.parametrize("kind", get_args(Kind))
def test_no_scheduler_judges_where_all_are_silent(toys: SimpleNamespace, kind: Kind) -> None:
    """Every candidate scores nothing for two epochs, across the first rung."""

    def curve(candidate: Candidate) -> Recording:
        whole = toys.rising(candidate)
        return replace(whole, metrics=({"dice": 0.0},) * 2 + whole.metrics[2:])

    driver = toys.Driver(toys.settings(trials=12, scheduler=Scheduler(kind, max_epochs=9)), curve=curve)
    driver.run()
    # Bracket by bracket for hyperband, cohort by cohort for halving, everybody goes on to the second rung.
    assert all(t.epoch >= 3 for t in driver.engine.state.trials)


def test_equal_scores_go_to_the_smaller_network_first() -> None:
    table = [trial(0, 0.5, macs=3.0), trial(1, 0.5, macs=2.0), trial(2, 0.1)]
    assert paused("asha", table) == Promotion(1, 3, judged=True)


def test_halving_waits_for_its_cohort() -> None:
    """Three rungs and one in three: nine to a cohort."""
    table = [trial(n, 0.1 * (n + 1)) for n in range(8)]
    assert paused("halving", table) is None
    on_its_way = trial(8, allowed=1)
    assert paused("halving", [*table, on_its_way]) is None
    whole = [*table, trial(8, 0.05)]
    assert paused("halving", whole) == Promotion(7, 3, judged=True)
    for number in (7, 6, 5):
        whole[number].allowed = 3
    assert paused("halving", whole) is None  # three of nine: now the next rung waits for them
    for number in (7, 6, 5):
        whole[number].scores |= {3: (0.9 - 0.1 * number,)}
        whole[number].epoch = 3
    assert paused("halving", whole) == Promotion(5, 9, judged=True)
    short = [trial(n, 0.1 * (n + 1)) for n in range(8)]
    assert paused("halving", short, closing=True) == Promotion(7, 3, judged=True)  # no ninth will come


def test_hyperband_fills_its_brackets_in_the_proportion_of_the_paper() -> None:
    """R = 9, eta = 3: 9 trials from one epoch, 5 from three, 3 from nine (Li et al. 2018, table 1 for R = 81)."""
    tables = Pausing(Scheduler("hyperband", max_epochs=9))
    entries = []
    for number in range(34):
        entries.append(tables.entry())
        tables.update(trial(number, allowed=entries[-1]))
    assert Counter(entries) == {1: 18, 3: 10, 9: 6}
    assert entries[0] == 1


def test_hyperband_judges_a_bracket_by_itself() -> None:
    tables = Pausing(Scheduler("hyperband", max_epochs=9))
    late = [trial(n, allowed=3) for n in range(3)]
    early = [trial(n, allowed=1) for n in range(3, 6)]
    for known in late + early:
        tables.update(known)
    for known, value in zip(late + early, (0.1, 0.2, 0.3, 0.7, 0.8, 0.9), strict=True):
        known.epoch = known.allowed
        known.scores = dict.fromkeys(range(1, known.epoch + 1), (value,))
        tables.update(known)
    assert tables.step(closing=False) == Promotion(2, 9, judged=True)  # the best of its bracket, not of all
    late[2].allowed = 9
    tables.update(late[2])
    assert tables.step(closing=False) == Promotion(5, 3, judged=True)


def test_pasha_raises_its_highest_rung_only_where_ranks_change() -> None:
    def table(*at_three: float) -> list[Trial]:
        rose = [trial(n, 0.5 + 0.1 * n, 0.5 + 0.1 * n, value) for n, value in enumerate(at_three)]
        return rose + [trial(n, 0.1 + 0.01 * n) for n in range(3, 9)]

    assert paused("pasha", table(0.6, 0.7, 0.8), max_epochs=27) is None  # the same order at both rungs
    assert paused("pasha", table(0.8, 0.7, 0.6), max_epochs=27) == Promotion(0, 9, judged=True)
    assert paused("asha", table(0.6, 0.7, 0.8), max_epochs=27) == Promotion(2, 9, judged=True)


def test_pasha_takes_ranks_that_change_within_the_noise_as_equal() -> None:
    """Two curves that cross to and fro by 0.02 say that 0.02 means nothing; a third is far off."""
    a = [0.60, 0.60, 0.62, 0.60, 0.62, 0.61, 0.62, 0.60, 0.60]
    b = [0.61, 0.62, 0.60, 0.62, 0.60, 0.62, 0.60, 0.62, 0.62]
    table = [trial(0, *a), trial(1, *b), trial(2, *[0.9] * 9)] + [
        trial(n, 0.1, 0.1, 0.1) for n in range(3, 9)
    ]
    assert a[2] > b[2] and a[8] < b[8]  # at epochs 3 and 9 the order differs
    assert paused("pasha", table, max_epochs=81) is None
    assert paused("asha", table, max_epochs=81) == Promotion(2, 27, judged=True)
    apart = [trial(0, *[0.7] * 8, 0.2), *table[1:]]
    assert paused("pasha", apart, max_epochs=81) == Promotion(2, 27, judged=True)


def test_asha_stopping_lets_the_best_third_go_on() -> None:
    tables = stopping("asha-stopping", [trial(0, 0.5, allowed=9), trial(1, 0.4, allowed=9)])
    new = trial(2, allowed=9)
    assert tables.halt(new, 1, (0.6,)) is None  # best of three
    assert tables.halt(new, 1, (0.45,)) == "rank 2 of 3 after 1 epochs"
    assert tables.halt(new, 2, (0.0,)) is None  # no rung
    few = stopping("asha-stopping", [trial(0, 0.5, allowed=9)])
    assert few.halt(new, 1, (0.1,)) is None  # too few to rank


def test_asha_stopping_ranks_by_fronts() -> None:
    others = [
        trial(0, (0.8, -8.0), allowed=9),
        trial(1, (0.5, -2.0), allowed=9),
        trial(2, (0.4, -5.0), allowed=9),
    ]
    tables = stopping("asha-stopping", others)
    new = trial(3, allowed=9)
    assert tables.halt(new, 1, (0.3, -9.0)) == "rank 4 of 4 after 1 epochs"  # dominated by all
    assert tables.halt(new, 1, (0.9, -1.0)) is None  # dominates all


def test_the_median_rule_by_hand() -> None:
    others = [trial(n, *[0.2 * n] * 4, allowed=9) for n in (1, 2, 3)]  # means 0.2, 0.4, 0.6 at every epoch
    tables = stopping("median", others)
    new = trial(9, 0.3, 0.3, allowed=9)
    assert tables.halt(new, 3, (0.39,)) == "below the median of 3 trials after 3 epochs"
    assert tables.halt(new, 3, (0.41,)) is None
    assert tables.halt(trial(9, 0.5, 0.3, allowed=9), 3, (0.1,)) is None  # it was above once
    assert tables.halt(new, 5, (0.1,)) is None  # nobody to compare with


def test_the_power_law_is_found_again() -> None:
    for exponent in (0.5, 1.0, 2.0):
        points = {t: 0.9 - 0.6 * t**-exponent for t in range(1, 6)}
        assert power_law(points, 27) == pytest.approx(0.9 - 0.6 * 27**-exponent, abs=1e-9)
    assert power_law({1: 0.5, 2: 0.4, 3: 0.3}, 27) == pytest.approx(0.4)  # it falls: no such law


def noisy(rng: random.Random, epochs: int = 27) -> list[float]:
    """A learning curve that is no power law of three: an own exponent, a late start, noise."""
    limit, gain, fall, late = (
        rng.gauss(0.7, 0.1),
        rng.uniform(0.2, 0.6),
        rng.uniform(0.4, 1.6),
        rng.uniform(0, 2),
    )
    return [limit - gain * (epoch + late) ** -fall + rng.gauss(0, 0.01) for epoch in range(1, epochs + 1)]


def test_a_chance_of_one_in_ten_is_no_more_than_that() -> None:
    """Of trials that ``curve`` would stop, trained to their end all the same, at most one in ten beats the best."""
    rng, stopped, wrong = random.Random(0), 0, 0
    for _ in range(60):
        finished = [noisy(rng) for _ in range(12)]
        scheduler = Scheduler("curve", max_epochs=27)
        tables = Stopping(scheduler)
        for number, values in enumerate(finished):
            tables.update(replace_length(trial(number, *values), 27))
        best = max(values[-1] for values in finished)
        for _ in range(10):
            values = noisy(rng)
            for epoch in scheduler.rungs[:-1]:
                running = replace_length(trial(99, *values[: epoch - 1], allowed=27), 27)
                if tables.halt(running, epoch, (values[epoch - 1],)) is not None:
                    stopped += 1
                    wrong += values[-1] > best
                    break
    assert stopped > 200  # of 600: the rule does something
    # One in ten, with three standard errors of a share of so many for the luck of the draw.
    assert wrong / stopped <= CHANCE + 3 * math.sqrt(CHANCE * (1 - CHANCE) / stopped)


def test_no_trial_is_stopped_by_its_forecast_before_nine_are_finished() -> None:
    finished = [
        replace_length(trial(n, *[0.8 + 0.01 * n - 0.5 / t for t in range(1, 28)]), 27) for n in range(9)
    ]
    new = replace_length(trial(20, 0.11, 0.12, allowed=27), 27)
    for count, stops in ((8, False), (9, True)):
        tables = stopping("curve", finished[:count], max_epochs=27)
        reason = tables.halt(new, 3, (0.13,))
        assert (reason == "a chance of at most 0.10 to beat the best, after 3 epochs") == stops


def replace_length(made: Trial, max_epochs: int) -> Trial:
    """The same trial of a longer training."""
    made.max_epochs = max_epochs
    return made
