"""Journals of before the canonical form changed: who reads them knows their candidates all the same.

``journal_twins.jsonl`` was written by such a version, in a space where one network can be asked in three ways: its driver died
while it trained the third of them.
"""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sources import JOB, driver

from orchestrator.audit import faults
from orchestrator.engine.decisions import follow
from orchestrator.engine.engine import Engine
from orchestrator.engine.events import Event, upcast
from orchestrator.engine.evidence import duplicate_digest
from orchestrator.engine.naming import SPACES, named_now, naming_code, own_name
from orchestrator.engine.settings import EngineSettings, Scheduler
from orchestrator.table import Origin, RecordedEpoch, Table, Training, load_table, save_table
from search_spaces.candidate import Candidate, from_json
from search_spaces.domain import Choice
from search_spaces.encoders.cells import Cells
from search_spaces.space import Choose, Space

PROTOCOL = {"version": 1, "max_epochs": 2}


def older() -> list[Event]:
    lines = (Path(__file__).parent / "journal_twins.jsonl").read_text().splitlines()
    return [upcast(Event(**json.loads(line))) for line in lines]


def twins(base: Candidate, warmups: tuple[float, ...]) -> Space:
    """A network whose stages do not reach the lowest limit of their width."""

    def space(choose: Choose) -> Candidate:
        widest = choose("architecture.encoder.widest", Choice((64, 128, 256)))
        warmup = choose("recipe.warmup", Choice(warmups))
        encoder = base.architecture.encoder
        assert isinstance(encoder, Cells)
        encoder = replace(encoder, widest=widest, width=8, stages=3)
        architecture = replace(base.architecture, encoder=encoder)
        return replace(base, architecture=architecture, recipe=replace(base.recipe, warmup=warmup))

    return space


@pytest.fixture
def before(toys: SimpleNamespace) -> EngineSettings:
    """Those of the older driver."""
    space = twins(toys.base, (0.0, 0.1, 0.2))
    made = toys.settings(space=space, trials=6, slots=1, scheduler=Scheduler("none", max_epochs=2))
    assert isinstance(made, EngineSettings)
    return made


@pytest.fixture
def settings(toys: SimpleNamespace, before: EngineSettings) -> EngineSettings:
    """Those of the driver that goes on: one network more, and all the trials that it takes."""
    return replace(before, space=twins(toys.base, (0.0, 0.1, 0.2, 0.3)), trials=12)


def asked(written: list[Event]) -> list[Event]:
    return [event for event in written if event.kind == "asked"]


def test_the_older_version_trained_one_candidate_three_times() -> None:
    names = [own_name(event.body["candidate"]) for event in asked(older())]
    assert names[0] == names[2] == names[4] and len(set(names)) == 3
    assert len({event.body["digest"] for event in asked(older())}) == 5
    assert [event.body["digest"] for event in asked(list(named_now(older())))] == names


def test_a_resumed_search_trains_nothing_again(
    toys: SimpleNamespace, before: EngineSettings, settings: EngineSettings
) -> None:
    search = toys.Driver(settings)
    search.log.events[:] = older()
    assert search.run() == "exhausted"
    began = asked(search.log.events)
    assert len(began) == 6 and began[5].body["trace"]["recipe.warmup"] == 0.3
    # What stood there stands there still, and what the older version left running was trained to its end.
    assert search.log.events[:28] == older()
    assert [trial.epoch for trial in search.engine.state.trials] == [2] * 6
    assert faults(search.log.events, files=False) == []
    found = follow(search.log.events, lambda told: settings if told.get("spaces") else before)
    assert found.difference is None and found.twins == 4
    assert sum(found.same.values()) + found.twins == found.decisions
    again = Engine(settings)
    again.replay(search.log.events)
    assert again.state.digests == search.engine.state.digests
    assert [t.digest for t in again.state.trials] == [t.digest for t in search.engine.state.trials]


def test_what_an_older_search_trained_is_reused(
    toys: SimpleNamespace, settings: EngineSettings, gathered: Any
) -> None:
    source = SimpleNamespace(log=SimpleNamespace(events=older()))
    settings = replace(settings, reuse=True)
    first = gathered({"old": source}, settings, protocol=PROTOCOL, job=JOB)
    assert (
        len([draft for draft in first if draft.kind == "evidence"]) == 3
    )  # four full trainings, of which two are one
    new = driver(toys, settings, first)
    assert new.run() == "exhausted"
    assert {event.body["source"] for event in new.log.events if event.kind == "reused"} == {0, 1, 3}
    assert [leg.candidate["recipe"]["warmup"] for leg in new.started] == [0.3]
    assert faults(new.log.events, files=False) == []


def test_evidence_that_an_older_version_gathered_is_known_again(
    toys: SimpleNamespace, settings: EngineSettings, gathered: Any
) -> None:
    """Its events with the names that it gave, and without a word of the code by which it gave them."""
    settings = replace(settings, reuse=True, trials=2)
    source = SimpleNamespace(log=SimpleNamespace(events=older()))
    first = gathered({"old": source}, settings, protocol=PROTOCOL)
    for draft in first:
        if draft.kind == "evidence":
            [name] = [e.body["digest"] for e in asked(older()) if e.body["trial"] == draft.body["trial"]]
            draft.body["digest"] = name
            draft.body["duplicate"] = duplicate_digest(name, data="d", protocol=PROTOCOL, seed=0)
    new = driver(toys, settings, first)
    assert new.run() == "trials"
    assert any(event.kind == "reused" for event in new.log.events)
    assert faults(new.log.events, files=False) == []
    # An audit that may not name anew would call it another training.
    [opened, *rest] = new.log.events
    told = replace(opened, body={**opened.body, "versions": {SPACES: naming_code()}})
    assert any("which is another training" in fault for fault in faults([told, *rest], files=False))


def test_what_the_same_code_named_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs nothing then: 10,000 trials would take seconds."""
    written = [
        replace(event, body={**event.body, "spaces": naming_code()}) if event.kind == "leading" else event
        for event in older()
    ]
    monkeypatch.setattr("orchestrator.engine.naming.own_name", lambda _: pytest.fail("named anew"))
    assert list(named_now(written)) == written


def test_a_candidate_that_nobody_can_read_any_more_keeps_its_name() -> None:
    written = older()
    place = next(n for n, event in enumerate(written) if event.kind == "asked")
    event = written[place]
    broken = {**event.body["candidate"], "loss": {"terms": [{"term": {"kind": "gone"}}]}}
    written[place] = replace(event, body={**event.body, "candidate": broken})
    assert list(named_now(written))[place].body["digest"] == event.body["digest"]


def test_a_table_of_before_is_named_anew_and_keeps_its_trainings(tmp_path: Path) -> None:
    def training(event: Event, **changes: Any) -> Training:
        body = event.body
        epochs = (RecordedEpoch({"dice": 0.5}, 1.0, 2.0),) * 2
        made = Training(
            body["candidate"], body["trace"], body["digest"], "", 0, 1.0, 1.0, "completed", 1.0, epochs
        )
        return replace(made, **changes)

    events = asked(older())
    gone = training(events[1], candidate={"loss": {}}, digest="kept")
    table = Table(Origin("compact", {}, "d", {}, {}), (*(training(event) for event in events[:3]), gone))
    for _ in range(2):  # written back, two of its trainings have one name
        save_table(table, tmp_path / "table.parquet")
        table = load_table(tmp_path / "table.parquet")
        names = [own_name(event.body["candidate"]) for event in events[:3]]
        assert [found.digest for found in table.trainings] == [*names, "kept"]
        assert [len(found.epochs) for found in table.trainings] == [2] * 4
    assert from_json(Candidate, table.trainings[0].candidate)
