"""A search that got more to spend goes on: with new trials, and with those that it had left behind."""

from types import SimpleNamespace
from typing import get_args

import pytest

from orchestrator.audit import faults
from orchestrator.engine import events
from orchestrator.engine.engine import Engine
from orchestrator.engine.events import NOT_PROMOTED
from orchestrator.engine.settings import Kind, Scheduler


def extended(toys: SimpleNamespace, settings: object, **more: float) -> SimpleNamespace:
    """A search that finished, was extended, and finished again."""
    driver = toys.Driver(settings)
    assert driver.run() is not None
    # The next driver reads the request when it leads; here it is written between the two.
    driver.log.append([events.extended(**more)], driver.now)
    assert driver.run() is not None
    return driver  # type: ignore[no-any-return]  # the driver comes from a namespace


@pytest.mark.parametrize("kind", get_args(Kind))
def test_more_trials_are_trained_under_every_scheduler(toys: SimpleNamespace, kind: Kind) -> None:
    settings = toys.settings(trials=8, scheduler=Scheduler(kind, max_epochs=9, min_epochs=1, reduction=3))
    driver = extended(toys, settings, trials=6)
    assert len(driver.engine.state.searched) == 14
    assert all(trial.verdict is not None for trial in driver.engine.state.trials)
    assert faults(driver.log.events, files=False) == []
    again = Engine(settings)
    again.replay(driver.log.events)
    assert [(t.verdict, t.epoch) for t in again.state.trials] == [
        (t.verdict, t.epoch) for t in driver.engine.state.trials
    ]


def test_trials_that_were_left_behind_may_be_promoted_after_all(toys: SimpleNamespace) -> None:
    """With more trials a rung promotes more of them; in some of these searches one that was there before."""

    def taken_up_again(seed: int) -> set[int]:
        settings = toys.settings(trials=6, slots=1, seed=seed)
        first = toys.Driver(settings)
        first.run()
        left = {t.number for t in first.engine.state.searched if t.message == NOT_PROMOTED}
        later = extended(toys, settings, trials=6).log.events[len(first.log.events) :]
        return left & {event.body["trial"] for event in later if event.kind == "promoted"}

    assert any(taken_up_again(seed) for seed in range(8))


def test_more_wall_time_is_spent(toys: SimpleNamespace) -> None:
    settings = toys.settings(trials=1000, wall_s=60.0)
    first = toys.Driver(settings)
    assert first.run() == "wall"
    driver = extended(toys, settings, wall_s=60.0)
    assert driver.engine.state.finished == "wall"
    assert len(driver.engine.state.trials) > 1.5 * len(first.engine.state.trials)
    assert 118 < driver.engine.state.wall_s(driver.now) < 135


def test_a_running_search_is_extended_without_a_pause(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings(trials=6))
    driver.run(until=20)
    driver.log.append([events.extended(trials=3)], driver.now)
    assert driver.run() == "trials"
    assert len(driver.engine.state.searched) == 9
