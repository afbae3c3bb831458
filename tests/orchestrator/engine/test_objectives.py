"""What a search is after: several objectives, costs, a mean over seeds, and limits that nobody meets."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

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
from orchestrator.engine.objective import Objective, vector_of
from orchestrator.engine.pareto import dominates
from orchestrator.engine.settings import Scheduler
from orchestrator.executors.simulated import Recording
from orchestrator.journal import Journal
from orchestrator.places import journal_url
from orchestrator.reading import Board, leaderboard_of
from search_spaces.candidate import Candidate

DICE_AND_SIZE = (Objective("dice"), Objective("parameters", "minimize"))


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
    assert Board([], driver.engine.state, rows).front() == {
        "trials": [row.trial for row in front],
        "knee": middle.trial,
    }
    assert len({row.digest for row in finalists(rows, 20)}) == 20
    single = toys.Driver(toys.settings(trials=9))
    single.run()
    best = leaderboard(single.engine.state)
    assert finalists(best, 3) == best[:3]
    assert Board([], single.engine.state, best).front() is None


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
    limited, free = (leaderboard_of(name, storage=str(tmp_path)).growth() for name in ("limited", "free"))
    assert limited["reference"] == {"dice": 0.0, "parameters": 1e5}
    alike = hypervolume_over_time(driver.log.events, DICE_AND_SIZE, (0.0, -1e5))
    assert [volume for _, volume in limited["grown"]] == [volume for _, volume in alike]
    assert {at for at, _ in limited["grown"]} == {0.0}  # of the journal's clock
    most = max(t.profile["parameters"] for t in driver.engine.state.trials)
    assert free["reference"] == {"dice": 0.0, "parameters": most}
    assert growth_text({"reference": {"dice": 0.0}, "grown": [(1.0, 0.2), (5.0, 0.8), (70.0, 1.0)]}) == (
        "hypervolume from dice 0: 1; half of it after 0:05, 90 % after 1:10, all after 1:10"
    )
    job = {"objectives": {"maximize": ["dice"]}, "constraints": {}}
    journal.create("one", [Draft("opened", first.body | {"job": job})])
    board = leaderboard_of("one", storage=str(tmp_path))
    assert board.front() is None and board.result is None


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
