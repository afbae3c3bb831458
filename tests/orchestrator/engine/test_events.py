"""Events: JSON bodies, closed kinds, lifting of old versions."""

import inspect
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.engine import events
from orchestrator.engine.decisions import follow
from orchestrator.engine.engine import Engine
from orchestrator.engine.events import Event, upcast
from orchestrator.engine.leaderboard import leaderboard
from orchestrator.engine.objective import Objective
from orchestrator.engine.samplers.tpe import TreeParzen
from orchestrator.engine.state import State
from orchestrator.errors import ReplayError
from workers.contract import EpochResult, LegResult

RESULT = EpochResult(
    search="s", trial=3, fence=7, epoch=2, loss=0.5, metrics={"dice": 0.25, "odd": float("nan")}, seconds=1.5,
    train_seconds=1.0, at=12.0, checkpoint="c",
)  # fmt: skip


def test_every_kind_has_a_constructor() -> None:
    made = {
        name
        for name, function in inspect.getmembers(events, inspect.isfunction)
        if function.__annotations__.get("return") is events.Draft
    }
    assert made == events.KINDS


def test_an_epoch_keeps_what_the_worker_said_but_no_infinite_numbers() -> None:
    draft = events.epoch(RESULT)
    assert draft.body == {
        "trial": 3, "fence": 7, "epoch": 2, "loss": 0.5, "metrics": {"dice": 0.25}, "seconds": 1.5,
        "train_seconds": 1.0, "at": 12.0, "checkpoint": "c",
    }  # fmt: skip
    json.dumps(draft.body, allow_nan=False)


def test_a_refused_result_names_what_was_expected() -> None:
    result = LegResult(search="s", trial=3, fence=7, status="failed", epoch=2, seconds=9.0, at=1.0)
    assert events.refused(result, 8).body["what"] == "leg_ended"
    assert events.refused(RESULT, None).body == {
        "what": "epoch", "trial": 3, "fence": 7, "expected": None, "epoch": 2, "seconds": 1.5
    }  # fmt: skip


def test_old_bodies_are_lifted_step_by_step() -> None:
    lifts = {
        ("noted", 1): lambda body: {**body, "b": 2},
        ("noted", 2): lambda body: {**body, "c": body["b"] + 1},
    }
    lifted = upcast(Event(5, "noted", 1, 1.0, {"a": 1}), lifts)
    assert lifted == Event(5, "noted", 3, 1.0, {"a": 1, "b": 2, "c": 3})
    same = Event(5, "finished", 1, 1.0, {})
    assert upcast(same, lifts) is same


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (Event(2, "noted", 1, 0.0, {}), "misses events"),
        (Event(1, "epoch", 1, 0.0, {"trial": 0}), "never asked"),
        (Event(1, "strange", 1, 0.0, {}), "unknown kind"),  # type: ignore[arg-type]  # no kind of event, as it shall be
    ],
)
def test_events_that_do_not_fit_are_refused(event: Event, message: str) -> None:
    with pytest.raises(ReplayError, match=message):
        State((Objective("dice"),)).apply(event)


def test_a_journal_of_version_1_replays_to_what_it_was(toys: SimpleNamespace) -> None:
    """Recorded before there were several objectives: 14 trials with TPE, three drivers, a request at the end."""
    lines = (Path(__file__).parent / "journal_v1.jsonl").read_text().splitlines()
    written = [upcast(Event(**json.loads(line))) for line in lines]
    gate = {"parameters": 4e5, "macs": 6e7}
    engine = Engine(toys.settings(trials=14, gate=lambda _: gate, constraints={"macs": 8e7}))
    decided = 0
    for event in written:
        # Where the next step does not depend on the sampler, it is the one that was recorded.
        if event.kind in ("promoted", "finished"):
            draft = engine.ask(event.at).drafts[0]
            if event.kind == "promoted":
                assert (draft.kind, draft.body) == ("promoted", event.body)
            decided += 1
        engine.apply(event)
    assert decided == 9
    rows = [
        (row.trial, row.status, row.epoch, row.value, row.worker_seconds) for row in leaderboard(engine.state)
    ]
    assert rows[:5] == [
        (0, "completed", 9, 0.843156, 21.0),
        (6, "stopped", 3, 0.706663, 8.0),
        (1, "stopped", 3, 0.619868, 8.0),
        (3, "diverged", 1, 0.369541, 8.0),
        (10, "stopped", 1, 0.314791, 3.0),
    ]
    [again] = leaderboard(engine.state, purpose="retrain")
    assert (again.trial, again.status, again.value, again.seed) == (14, "completed", 0.792006, 77)
    assert (engine.state.wall_s(1e9), engine.state.spent_s(1e9), engine.state.finished) == (
        55.0,
        98.0,
        "trials",
    )
    assert engine.state.rejections == {"constraint:macs": 1}


def test_a_reader_that_catches_up_sees_what_a_driver_sees() -> None:
    lines = (Path(__file__).parent / "journal_v1.jsonl").read_text().splitlines()
    written = [upcast(Event(**json.loads(line))) for line in lines]
    for last in (len(written) // 3, len(written) // 2, len(written)):
        driver, reader = State((Objective("dice"),)), State((Objective("dice"),))
        for event in written[:last]:
            driver.apply(event)
        reader.catch_up(written[: last // 2])
        reader.catch_up(written[last // 2 : last])
        now = written[last - 1].at
        assert leaderboard(reader) == leaderboard(driver)
        assert reader.seq == driver.seq and reader.trials == driver.trials
        assert reader.ledger.running() == driver.ledger.running()
        assert reader.ledger.spent_s(now, "search") == pytest.approx(driver.ledger.spent_s(now, "search"))
        assert set(reader.ledger.due) == set(driver.ledger.due)
        assert reader.ledger.waiting(of_search=True) == driver.ledger.waiting(of_search=True)


def test_drafts_have_the_versions_that_readers_lift_to() -> None:
    draft = events.leading({}, 1, slots=2, whole=1, fix={"a": 1}, spaces="b")
    event = Event(1, "leading", draft.version, 0.0, draft.body)
    assert upcast(event) == event
    assert upcast(Event(1, "leading", 1, 0.0, {"driver": {}, "fence": 1})).body == {
        "driver": {}, "fence": 1, "slots": None, "whole": None, "fix": None, "spaces": None,
    }  # fmt: skip


def test_a_journal_of_version_1_follows_until_a_sampler_that_has_changed_since(toys: SimpleNamespace) -> None:
    """Recorded with three drivers, that of today's TPE differs from the first proposal on that was its own."""
    lines = (Path(__file__).parent / "journal_v1.jsonl").read_text().splitlines()
    written = [upcast(Event(**json.loads(line))) for line in lines]
    settings = toys.settings(trials=14, constraints={"macs": 8e7}, sampler=TreeParzen(startup=3))
    found = follow(written, lambda told: replace(settings, slots=told["slots"], whole=told["whole"]))
    assert found.untold == 3 and found.requests == 1
    assert found.same == {"asked": 7, "leg_started": 15, "rejected": 1, "promoted": 6, "trial_ended": 1}
    assert found.difference is not None and "'asked' of trial 7" in found.difference.message
