"""Limits on what only epochs tell: a trial beyond one ends after the epoch that showed it, and counts as no result."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from orchestrator.engine.events import Event, upcast
from orchestrator.engine.history import Memory
from orchestrator.engine.leaderboard import finalists, leaderboard
from orchestrator.engine.settings import Kind, Scheduler
from orchestrator.executors.simulated import Recording
from search_spaces.candidate import Candidate, from_json

LIMIT = 10.0


def latency(candidate: Candidate) -> float:
    """Good rates cost time here, so that the limit bites where the search wants to go."""
    return 14.0 if candidate.recipe.learning_rate > 5e-3 else 8.0


@pytest.fixture
def slow(toys: SimpleNamespace) -> SimpleNamespace:
    """A driver on curves whose epochs tell a latency."""

    def curve(candidate: Candidate) -> Recording:
        recording: Recording = toys.rising(candidate)
        told = tuple(scores | {"latency_ms": latency(candidate)} for scores in recording.metrics)
        return replace(recording, metrics=told)

    def driver(kind: Kind = "asha", **fields: object) -> SimpleNamespace:
        settings = toys.settings(
            trials=24, scheduler=Scheduler(kind, 9), limits={"latency_ms": LIMIT}, **fields
        )
        made: SimpleNamespace = toys.Driver(settings, curve)
        return made

    return SimpleNamespace(driver=driver)


@pytest.mark.parametrize("kind", ["none", "asha", "halving", "hyperband", "pasha", "asha-stopping", "median"])
def test_a_trial_beyond_a_limit_ends_with_its_first_epoch_and_is_no_result(
    slow: SimpleNamespace, kind: Kind
) -> None:
    driver = slow.driver(kind)
    assert driver.run() == "trials"
    state = driver.engine.state
    beyond = [t for t in state.trials if latency(from_json(Candidate, t.candidate)) > LIMIT]
    within = [t for t in state.trials if t not in beyond]
    assert len(beyond) > 3 and len(within) > 3
    for trial in beyond:
        assert (trial.epoch, trial.verdict) == (1, "stopped")
        assert trial.message == "latency_ms 14 is above the job's limit of 10"
        assert trial.violation == pytest.approx(0.4)
    rows = leaderboard(state)
    ranked = {row.trial for row in rows if row.rank is not None}
    assert ranked == {trial.number for trial in within}
    assert {row.trial for row in finalists(rows, 5)} <= ranked
    promoted = {event.body["trial"] for event in driver.log.events if event.kind == "promoted"}
    assert promoted <= ranked
    assert any(trial.epoch == 9 for trial in within) or kind == "pasha"  # whose highest rung grows


def test_samplers_see_by_how_much_a_trial_is_beyond(slow: SimpleNamespace) -> None:
    driver = slow.driver()
    driver.run()
    state = driver.engine.state
    seen = Memory((1, 3, 9), 1).history(state).observations
    for trial, observation in zip(state.searched, seen, strict=True):
        known = (observation.state, observation.violation, bool(observation.scores))
        assert known == (
            ("rejected", pytest.approx(0.4), False) if trial.violation else ("scored", 0.0, True)
        )


def test_a_driver_killed_at_any_event_ends_like_one_that_was_not(
    slow: SimpleNamespace,
) -> None:
    whole = slow.driver(slots=1)
    whole.run()
    told = [(t.digest, t.epoch, t.verdict, t.violation, t.scores) for t in whole.engine.state.trials]
    for until in range(2, len(whole.log.events), 7):
        driver = slow.driver(slots=1)
        while driver.run(until=until) is None:
            until = 10**9
        assert [
            (t.digest, t.epoch, t.verdict, t.violation, t.scores) for t in driver.engine.state.trials
        ] == told


def test_an_older_event_without_an_excess_is_one_of_a_scheduler() -> None:
    old = Event(7, "halted", 1, 0.0, {"trial": 0, "epoch": 3, "reason": "median"})
    assert upcast(old).body == {**old.body, "violation": 0.0} and upcast(old).version == 2
