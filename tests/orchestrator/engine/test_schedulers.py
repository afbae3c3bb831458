"""What is special to each scheduler: hand-checked tables, and how often a stop was wrong."""

import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from orchestrator.cli.results import growth_text
from orchestrator.engine.events import Draft
from orchestrator.engine.leaderboard import (
    finalists,
    hypervolume_over_time,
    knee_point,
    leaderboard,
    pareto_front,
)
from orchestrator.engine.objective import Objective, Vector, vector_of
from orchestrator.engine.pareto import dominates
from orchestrator.engine.pausing import Pausing
from orchestrator.engine.schedule import Promotion
from orchestrator.engine.settings import STOPPING, Kind, Scheduler
from orchestrator.engine.stopping import CHANCE, Stopping, power_law
from orchestrator.engine.trial import Trial
from orchestrator.executors.simulated import Recording
from orchestrator.journal import Journal
from orchestrator.places import journal_url
from orchestrator.reading import front_of, growth_of
from search_spaces.candidate import Candidate

DICE_AND_SIZE = (Objective("dice"), Objective("parameters", "minimize"))


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


def sizes(candidate: Candidate) -> dict[str, float]:
    """Parameters that grow with the learning rate, so that small ones are worse where the rate is below the best."""
    return {"parameters": 1e6 * candidate.recipe.learning_rate}


def test_several_objectives_are_ranked_by_fronts(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings(trials=30, objectives=DICE_AND_SIZE, gate=sizes))
    driver.run()
    state = driver.engine.state
    rows = leaderboard(state)
    front = pareto_front(rows)
    assert len(front) > 2 and {row.front for row in rows[: len(front)]} == {1}
    assert all(not dominates(one.scores or (), other.scores or ()) for one in rows for other in front)
    row = rows[0]
    assert row.values == {"dice": row.value, "parameters": row.profile["parameters"]}
    # What is promoted keeps the small as well as the good.
    finished = [t for t in state.trials if t.verdict == "completed"]
    assert max(t.values[9] for t in finished) > 0.75
    assert min(t.profile["parameters"] for t in finished) < 5_000


def test_the_front_is_spread_for_retraining(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings(trials=30, objectives=DICE_AND_SIZE, gate=sizes))
    driver.run()
    rows = leaderboard(driver.engine.state)
    front = pareto_front(rows)
    two = finalists(rows, 2)
    assert two == (front[0], front[-1])  # the ends: best Dice, fewest parameters
    middle = knee_point(rows)
    assert middle in front and middle is not None
    assert front_of(rows) == {"trials": [row.trial for row in front], "knee": middle.trial}
    assert len({row.digest for row in finalists(rows, 20)}) == 20
    single = toys.Driver(toys.settings(trials=9))
    single.run()
    best = leaderboard(single.engine.state)
    assert finalists(best, 3) == best[:3]
    assert front_of(best) is None


def test_hypervolume_grows_over_time_to_that_of_the_front(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings(trials=12, objectives=DICE_AND_SIZE, gate=sizes))
    driver.run()
    grown = hypervolume_over_time(driver.log.events, DICE_AND_SIZE, (0.0, -1e5))
    times, volumes = zip(*grown, strict=True)
    assert list(times) == sorted(times) and list(volumes) == sorted(set(volumes))
    points = [score for t in driver.engine.state.trials for score in t.scores.values()]
    cells = sorted((p[0], p[1] + 1e5) for p in points)
    slow, highest = 0.0, 0.0  # a staircase from the right: the area below it
    for index in range(len(cells) - 1, -1, -1):
        highest = max(highest, cells[index][1])
        slow += (cells[index][0] - (cells[index - 1][0] if index else 0.0)) * highest
    assert volumes[-1] == pytest.approx(slow)


def test_growth_is_told_of_a_search_in_a_journal(toys: SimpleNamespace, tmp_path: Path) -> None:
    driver = toys.Driver(toys.settings(trials=12, objectives=DICE_AND_SIZE, gate=sizes))
    driver.run()
    journal = Journal(journal_url(str(tmp_path)))
    wanted = {"maximize": ["dice"], "minimize": ["parameters"]}
    first, *others = driver.log.events
    for name, constraints in (("limited", {"parameters": 1e5}), ("free", {})):
        job = {"objectives": wanted, "constraints": constraints}
        told = [Draft(first.kind, first.body | {"job": job}), *(Draft(e.kind, e.body) for e in others)]
        journal.create(name, told, at=5.0)
    limited, free = (growth_of(name, storage=str(tmp_path)) for name in ("limited", "free"))
    assert limited is not None and limited["reference"] == {"dice": 0.0, "parameters": 1e5}
    alike = hypervolume_over_time(driver.log.events, DICE_AND_SIZE, (0.0, -1e5))
    assert [volume for _, volume in limited["grown"]] == [volume for _, volume in alike]
    assert {at for at, _ in limited["grown"]} == {0.0}  # of the journal's clock
    most = max(t.profile["parameters"] for t in driver.engine.state.trials)
    assert free is not None and free["reference"] == {"dice": 0.0, "parameters": most}
    assert growth_text({"reference": {"dice": 0.0}, "grown": [(1.0, 0.2), (5.0, 0.8), (70.0, 1.0)]}) == (
        "hypervolume from dice 0: 1; half of it after 0:05, 90 % after 1:10, all after 1:10"
    )
    job = {"objectives": {"maximize": ["dice"]}, "constraints": {}}
    journal.create("one", [Draft("opened", first.body | {"job": job})])
    assert growth_of("one", storage=str(tmp_path)) is None


def test_worker_seconds_of_a_full_training_are_an_objective(toys: SimpleNamespace) -> None:
    def curve(candidate: Candidate) -> Recording:
        whole = toys.rising(candidate)
        return replace(whole, seconds=(4.0 if candidate.recipe.optimiser == "sgd" else 2.0,) * 27)

    objectives = (Objective("dice"), Objective("worker_seconds", "minimize"))
    driver = toys.Driver(toys.settings(objectives=objectives), curve=curve)
    driver.run()
    rows = leaderboard(driver.engine.state)
    # Two or four seconds an epoch, nine epochs, whatever epoch the trial reached.
    assert {row.values["worker_seconds"] for row in rows} == {18.0, 36.0}


def test_a_metric_can_be_minimised(toys: SimpleNamespace) -> None:
    def curve(candidate: Candidate) -> Recording:
        whole = toys.rising(candidate)
        return replace(whole, metrics=tuple({"error": 1.0 - m["dice"]} for m in whole.metrics))

    less = toys.Driver(toys.settings(objectives=(Objective("error", "minimize"),)), curve=curve)
    more = toys.Driver(toys.settings())
    less.run()
    more.run()
    assert [r.trial for r in leaderboard(less.engine.state)] == [
        r.trial for r in leaderboard(more.engine.state)
    ]
    assert leaderboard(less.engine.state)[0].value == pytest.approx(
        1 - (leaderboard(more.engine.state)[0].value or 0)
    )


def test_repeats_are_new_seeds_of_the_best_and_ranks_use_the_mean(toys: SimpleNamespace) -> None:
    trained: list[float] = []

    def curve(candidate: Candidate) -> Recording:
        whole = toys.rising(candidate)
        trained.append(toys.quality(candidate))
        lucky = trained.count(trained[-1]) == 1 and len(trained) == 3  # the third trial, with its first seed
        scores = tuple({"dice": m["dice"] + 0.5 * lucky} for m in whole.metrics)
        return replace(whole, metrics=scores)

    driver = toys.Driver(
        toys.settings(trials=8, repeats=3, slots=1, scheduler=Scheduler("none", max_epochs=4)), curve=curve
    )
    assert driver.run() == "trials"
    state = driver.engine.state
    repeats = [t for t in state.trials if t.is_repeat]
    assert len(state.trials) == 11 and [t.number for t in repeats] == [8, 9, 10]
    assert repeats[0].digest == state.trials[2].digest and repeats[0].seed != state.trials[2].seed
    assert len({t.digest for t in repeats}) == 3
    rows = leaderboard(state)
    pair = [row for row in rows if row.digest == repeats[0].digest]
    assert pair[0].scores == pair[1].scores and pair[0].trial == 2  # one mean; the better seed stands first
    assert pair[0].scores == (pytest.approx(((pair[0].value or 0) + (pair[1].value or 0)) / 2),)
    assert len({row.digest for row in finalists(rows, 8)}) == 8
    assert state.spent_s(driver.now) == sum(t.cost.total for t in state.trials)


def test_a_space_beyond_its_limits_says_which_limit_and_how_near_it_came(toys: SimpleNamespace) -> None:
    driver = toys.Driver(
        toys.settings(
            gate=lambda c: {"macs": 3.2e6 + 1e9 * c.recipe.learning_rate}, constraints={"macs": 1e5}
        )
    )
    assert driver.run() == "exhausted"
    [finished] = [event for event in driver.log.events if event.kind == "finished"]
    rejected = [event.body["value"] for event in driver.log.events if event.kind == "rejected"]
    assert finished.body["message"] == (
        f"no candidate is within all limits: constraints.macs of 100,000 turned down {len(rejected)}, the closest with "
        f"{min(rejected):,.12g}"
    )


def test_a_space_that_is_used_up_says_so(toys: SimpleNamespace) -> None:
    driver = toys.Driver(
        toys.settings(space=toys.finite, trials=60, scheduler=Scheduler("none", max_epochs=1))
    )
    driver.run()
    message = next(event.body["message"] for event in driver.log.events if event.kind == "finished")
    assert message == f"{driver.engine.state.rejections['duplicate']} proposals were tried before"


def test_latency_is_an_objective_that_epochs_tell() -> None:
    objectives = (Objective("dice"), Objective("latency_ms", "minimize"))
    assert vector_of(objectives, {"dice": 0.5, "latency_ms": 3.0}, {"latency_ms": 3.0}) == (0.5, -3.0)
    assert vector_of(objectives, {"dice": 0.5}, {}) is None  # a trial without one cannot be ranked
