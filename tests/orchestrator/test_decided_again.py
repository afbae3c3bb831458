"""Searches of the real driver, its journal, plan and gates, decided again from their journals; only training is made up."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.main import run as run_command
from orchestrator.driver import Driver
from orchestrator.engine import events
from orchestrator.engine.decisions import Followed, follow
from orchestrator.engine.events import Draft, Event
from orchestrator.executors.in_process import InProcessExecutor
from orchestrator.job import (
    Budget,
    DataSettings,
    Job,
    Retrain,
    SchedulerSettings,
    ScreeningSettings,
    SearchSettings,
    job_from_json,
)
from orchestrator.journal import Journal
from orchestrator.plan import Plan, make_plan
from orchestrator.rules import settings_of
from orchestrator.search import create_search, drive, open_session
from orchestrator.slots import Node
from orchestrator.warm_start import Target, gather
from search_spaces.candidate import Candidate, from_json
from workers.contract import EpochResult, Leg, LegResult

CORES, CARDS = (Node("cores", 2),), (Node("cards", 4, 2),)


def made_up(leg: Leg, report: Callable[[EpochResult], None], should_stop: Callable[[], bool]) -> LegResult:
    """A leg whose scores depend on candidate, seed and epoch; some break down."""
    candidate = from_json(Candidate, leg.candidate)
    rng = random.Random(f"{candidate.recipe.learning_rate} {leg.seed}")
    limit, epoch = rng.random(), leg.first_epoch
    ends: Any = rng.choice(("completed",) * 8 + ("diverged", "failed"))
    last = leg.last_epoch if ends == "completed" else min(leg.last_epoch, 2)
    common: dict[str, Any] = {"search": leg.search, "trial": leg.trial, "fence": leg.fence, "at": 0.0}
    while epoch < last:
        epoch += 1
        dice = limit * (1 - 0.7**epoch) + random.Random(f"{limit} {epoch}").gauss(0, 0.02)
        metrics = {"dice": max(0.0, dice) if rng.random() < 0.9 else 0.0}
        told: dict[str, Any] = {"loss": 1.0, "seconds": 0.01, "train_seconds": 0.01, "checkpoint": ""}
        report(EpochResult(epoch=epoch, metrics=metrics, **told, **common))
        if epoch < last and should_stop():
            return LegResult(status="stopped", epoch=epoch, seconds=0.1, **common)
    status: Any = "completed" if epoch == leg.last_epoch else ends
    return LegResult(status=status, epoch=epoch, seconds=0.1, **common)


def job(dataset: Path, folder: Path, name: str = "one", *, kind: str = "asha", **changes: Any) -> Job:
    search = {"seed": 1, "repeats": 1} | changes.pop("search", {})
    scheduler = SchedulerSettings(kind, max_epochs=4, min_epochs=1, reduction=2)  # type: ignore[arg-type]  # one of its kinds
    return Job(
        name,
        str(dataset),
        DataSettings(size=[16, 16], batch=4),
        search=SearchSettings(scheduler=scheduler, **search),
        retrain=Retrain(top=0),
        storage=str(folder / "runs"),
        **{"budget": Budget(trials=10)} | changes,
    )


class Kill(Exception):
    """The driver dies."""


def go_on(plan: Plan, journal: Journal, *, until: int | None = None) -> None:
    """Lead a search to its end, or die when the journal holds so many events."""

    def watch(event: Event | None, _engine: Any) -> None:
        if until is not None and event is not None and event.seq >= until:
            raise Kill

    executor = InProcessExecutor(made_up)
    try:
        with open_session(plan, journal, executor, watch) as session:
            drive(session)
    except Kill:
        pass
    finally:
        executor.close()


def searched(plan: Plan, journal: Journal, evidence: Sequence[Draft] = ()) -> list[Event]:
    create_search(plan, journal, evidence=evidence)
    go_on(plan, journal)
    return journal.read(plan.job.name)


def again(written: list[Event], name: str = "one") -> Followed:
    return follow(written, settings_of(name, written))


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    opened = Journal(f"sqlite:///{tmp_path}/runs/journal.db")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"search": {"sampler": "random"}},
        {"search": {"sampler": "auto"}, "constraints": {"parameters": 1e6, "macs": 2e6}},
        {"search": {"sampler": "evolution"}, "kind": "hyperband"},
        {"search": {"sampler": "mixed", "screening": ScreeningSettings("macs", 0.5, 4)}, "kind": "pasha"},
        {"objectives": {"maximize": ["dice"], "minimize": ["parameters"]}, "kind": "asha-stopping"},
        {"search": {"sampler": "tpe", "presets": False}, "constraints": {"memory_bytes": 2e7}, "kind": "median"},
    ],
)  # fmt: skip
def test_what_a_driver_decided_follows(dataset: Path, tmp_path: Path, journal: Journal, changes: Any) -> None:
    written = searched(make_plan(job(dataset, tmp_path, **changes), nodes=CORES), journal)
    found = again(written)
    assert found.difference is None and found.untold == 0
    assert sum(found.same.values()) == found.decisions
    assert found.same["asked"] >= 10 and found.same["finished"] == 1


def test_drivers_on_other_machines_extensions_and_warm_starts(
    dataset: Path, tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On cards the precision is a choice, on cores that emulate bf16 it is none: the second driver has less to choose."""
    monkeypatch.setattr("orchestrator.plan.has_fast_bf16", lambda: False)
    first = make_plan(job(dataset, tmp_path, search={"sampler": "evolution"}), nodes=CARDS)
    create_search(first, journal)
    go_on(first, journal, until=45)
    [opened] = journal.read("one", limit=1)
    later = make_plan(job_from_json(opened.body["job"]), nodes=CORES)
    go_on(later, journal, until=70)
    leadership = journal.lead("one", Driver.current())
    journal.append(leadership, [events.extended(trials=4)])
    journal.release(leadership)
    go_on(later, journal)
    written = journal.read("one")
    told = [event.body for event in written if event.kind == "leading"]
    assert [(body["slots"], body["fix"]) for body in told] == [
        (2, {}),
        *[(2, {"recipe.precision": "fp32"})] * 2,
    ]
    used = [event.body["trace"].get("recipe.precision") for event in written if event.kind == "asked"]
    assert "bf16" in used[:8]
    found = again(written)
    assert found.difference is None and sum(found.same.values()) == found.decisions
    taught = make_plan(job(dataset, tmp_path, "two", kind="halving"), nodes=CORES)
    found = again(searched(taught, journal, gather(journal, ["one"], Target.of(taught))), "two")
    assert found.difference is None and sum(found.same.values()) == found.decisions


def test_candidates_that_an_earlier_version_named_otherwise_are_pointed_at(
    dataset: Path, tmp_path: Path, journal: Journal
) -> None:
    """Their canonical form has changed since."""
    written = searched(make_plan(job(dataset, tmp_path, search={"sampler": "random"}), nodes=CORES), journal)
    place = next(n for n, event in enumerate(written) if event.kind == "asked" and n > 10)
    written[place] = replace(written[place], body={**written[place].body, "digest": "0" * 32})
    difference = again(written).difference
    assert difference is not None and difference.seq == place + 1
    assert (
        f"; event {place + 1} names a candidate otherwise than this version of segsearch"
        in difference.message
    )


def test_the_command_says_what_follows_and_what_differs(
    dataset: Path, tmp_path: Path, journal: Journal, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.delenv("SEGSEARCH_JOURNAL", raising=False)
    written = searched(make_plan(job(dataset, tmp_path, search={"sampler": "random"}), nodes=CORES), journal)
    command = ["audit", "one", "--no-files", "--decisions", "--storage", str(tmp_path / "runs")]
    assert run_command(command) == 0
    count = again(written).decisions
    assert f"one: {count} of {count} decisions follow from the journal (" in capsys.readouterr().out
    # Another journal in which the first promotion goes to the next higher rung at once.
    place = next(n for n, event in enumerate(written) if event.kind == "promoted")
    altered = replace(written[place], body={**written[place].body, "to_epoch": 4})
    changed = [*written[:place], altered, *written[place + 1 :]]
    journal.create("other", [Draft(event.kind, event.body, event.version) for event in changed])
    command[1] = "other"
    assert run_command(command) == 1
    out = capsys.readouterr().out
    assert (
        f"  - event {place + 1}: the journal has 'promoted'" in out
        and "with to_epoch 4; the engine decides 2" in out
    )
