"""Trainings that another search did already are taken over instead of done again, where the job says so."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from sources import JOB, PROTOCOL, driver, finished, opened, shown

from orchestrator.audit import faults
from orchestrator.engine.engine import Engine
from orchestrator.engine.events import Draft, Event
from orchestrator.engine.evidence import duplicate_digest, reuse
from orchestrator.engine.objective import Objective
from orchestrator.engine.settings import ONE_OBJECTIVE, Kind, Scheduler
from orchestrator.errors import WarmStartError
from orchestrator.executors.simulated import Recording
from search_spaces.candidate import Candidate

TWO = {"maximize": ["dice"], "minimize": ["parameters"]}


@pytest.mark.parametrize(
    ("kind", "job"),
    [(kind, JOB) for kind in get_args(Kind)]
    + [(kind, {"objectives": TWO}) for kind in get_args(Kind) if kind not in ONE_OBJECTIVE],
)
def test_nothing_is_trained_twice_where_the_job_reuses(
    toys: SimpleNamespace, gathered: Any, kind: Kind, job: dict[str, Any]
) -> None:
    objectives = (Objective("dice"), Objective("parameters", "minimize"))[: len(job["objectives"])]
    changes: dict[str, Any] = {
        "space": toys.finite, "trials": 6, "repeats": 1, "objectives": objectives,
        "presets": (("known", toys.finite(lambda _, domain: domain.first)),),
        "gate": lambda candidate: {"parameters": 1.0 + candidate.recipe.warmup},
        "scheduler": Scheduler(kind, max_epochs=9, min_epochs=1, reduction=3),
    }  # fmt: skip
    old = finished(toys, job=job, **changes)
    settings = toys.settings(**changes, reuse=True)
    new = driver(toys, settings, gathered({"old": old}, settings, job=job))
    assert new.run() == "trials"
    done = {(t.digest, t.seed): t for t in old.engine.state.of("search") if t.verdict == "completed"}
    reused = {e.body["trial"]: e.body for e in new.log.events if e.kind == "reused"}
    trials = new.engine.state.trials
    assert len(new.engine.state.searched) == 6
    whole = [t for t in trials if not (t.is_repeat and t.epoch < 9)]  # a repeat goes as far as its trial
    assert {(trials[n].digest, trials[n].seed) for n in reused} == {
        (t.digest, t.seed) for t in whole
    } & done.keys()
    assert len(reused) >= 1
    assert {leg.trial for leg in new.started}.isdisjoint(reused)
    for number, body in reused.items():
        trial, source = trials[number], old.engine.state.trials[body["source"]]
        assert (trial.verdict, trial.scores, trial.values) == ("completed", source.scores, source.values)
        assert trial.cost.total == 0
        assert trial.message == f"reused: trial {source.number} of old"
    assert faults(new.log.events, files=False) == []
    again = Engine(settings)
    again.replay(new.log.events)
    assert [vars_of(t) for t in again.state.trials] == [vars_of(t) for t in trials]


def vars_of(trial: Any) -> tuple[Any, ...]:
    return (trial.digest, trial.verdict, trial.epoch, trial.scores, trial.checkpoint, trial.cost.total)


def test_without_reuse_the_same_candidates_are_trained_anew(toys: SimpleNamespace, gathered: Any) -> None:
    changes = {"space": toys.finite, "trials": 6, "scheduler": Scheduler("none", max_epochs=9)}
    old = finished(toys, **changes)
    settings = toys.settings(**changes)
    new = driver(toys, settings, gathered({"old": old}, settings))
    assert new.run() == "trials"
    assert {leg.trial for leg in new.started} == set(range(6))
    # What both searches trained with the same seed is one observation.
    assert len(shown(new.engine)) == 6


@pytest.mark.parametrize("change", [{"seed": 1}, {"data": "e"}, {"protocol": {**PROTOCOL, "batch": 4}}])
def test_another_seed_data_or_protocol_is_another_training(
    toys: SimpleNamespace, gathered: Any, change: dict[str, Any]
) -> None:
    changes = {"space": toys.finite, "trials": 6, "scheduler": Scheduler("none", max_epochs=9)}
    old = finished(toys, **changes)
    seed = {"seed": change["seed"]} if "seed" in change else {}
    settings = toys.settings(**changes, **seed)
    first = gathered({"old": old}, settings, **({} if seed else change))
    new = driver(toys, replace(settings, reuse=True), first)
    assert new.run() == "trials"
    assert not any(e.kind == "reused" for e in new.log.events)
    keys = {duplicate_digest("c", data="d", protocol=PROTOCOL, seed=0)} | {
        duplicate_digest("c", **{"data": "d", "protocol": PROTOCOL, "seed": 0} | change)
    }
    assert len(keys) == 2


def test_reuse_needs_something_to_reuse(toys: SimpleNamespace, gathered: Any) -> None:
    settings = toys.settings(reuse=True)
    with pytest.raises(WarmStartError, match=r"search.reuse: there is nothing to reuse; name searches"):
        gathered({}, settings)
    with pytest.raises(
        WarmStartError, match=r"search.reuse: 'old' ran on other data or under another protocol"
    ):
        gathered({"old": finished(toys)}, settings, data="other")


def test_a_repeat_that_goes_as_far_as_its_trial_is_no_full_training(
    toys: SimpleNamespace, gathered: Any
) -> None:
    changes = {"space": toys.finite, "trials": 1, "slots": 1, "scheduler": Scheduler("none", max_epochs=9)}
    old = finished(toys, **changes)
    settings = toys.settings(**changes, reuse=True)
    new = driver(toys, settings, gathered({"old": old}, settings))
    new.engine.replay(new.log.events)
    [asked] = [e for e in old.log.events if e.kind == "asked"]
    state = new.engine.state
    assert reuse(settings, state, Draft("asked", {**asked.body, "source": "repeat", "to_epoch": 3})) == ()
    assert len(reuse(settings, state, Draft("asked", {**asked.body, "source": "repeat"}))) == 2


def test_a_fork_of_a_fork_knows_both_and_each_training_once(toys: SimpleNamespace, gathered: Any) -> None:
    changes = {"space": toys.finite, "trials": 4, "scheduler": Scheduler("none", max_epochs=9)}
    first = finished(toys, **changes)
    settings = toys.settings(**{**changes, "trials": 2}, reuse=True)
    second = driver(toys, settings, gathered({"first": first}, settings))
    assert second.run() == "trials"
    third = gathered({"first": first, "second": second}, settings)
    kept = [d.body for d in third if d.kind == "evidence"]
    digests = {t.digest for s in (first, second) for t in s.engine.state.searched}
    assert len(digests) > len(second.engine.state.searched)
    assert sorted(body["digest"] for body in kept) == sorted(digests)
    alone = [d.body for d in gathered({"second": second}, settings) if d.kind == "evidence"]
    assert {body["digest"] for body in alone} == digests


def test_a_full_training_in_smaller_parts_is_no_duplicate(toys: SimpleNamespace, gathered: Any) -> None:
    changes = {"space": toys.finite, "trials": 2, "slots": 1, "scheduler": Scheduler("none", max_epochs=9)}
    old = finished(toys, **changes)
    place = next(n for n, e in enumerate(old.log.events) if e.kind == "leg_ended")
    short = old.log.events[place]
    old.log.events[place] = replace(short, body={**short.body, "status": "out_of_memory"})
    settings = toys.settings(**changes, reuse=True)
    new = driver(toys, settings, gathered({"old": old}, settings))
    assert new.run() == "trials"
    source = {e.body["source"] for e in new.log.events if e.kind == "reused"}
    assert source == {1 - short.body["trial"]}
    assert {e.body["relation"] for e in new.log.events if e.kind == "evidence"} == {"identical"}


def test_a_crash_anywhere_changes_nothing(toys: SimpleNamespace, gathered: Any) -> None:
    changes = {"space": toys.finite, "trials": 6, "slots": 1, "repeats": 1}
    old = finished(toys, **changes, scheduler=Scheduler("asha", max_epochs=9, min_epochs=1, reduction=3))
    settings = toys.settings(**changes, reuse=True)
    first = gathered({"old": old}, settings)
    whole = driver(toys, settings, first)
    assert whole.run() == "trials"
    assert any(e.kind == "reused" for e in whole.log.events)
    for length in range(len(first), len(whole.log.events)):
        killed = driver(toys, settings, first, torn=False)
        if killed.run(until=length) is None:
            assert killed.run() == "trials"
        assert [vars_of(t)[:4] for t in killed.engine.state.trials] == [
            vars_of(t)[:4] for t in whole.engine.state.trials
        ]


def test_an_audit_names_what_is_wrong_with_evidence(toys: SimpleNamespace, gathered: Any) -> None:
    changes = {"space": toys.finite, "trials": 3, "slots": 1, "scheduler": Scheduler("none", max_epochs=9)}
    old = finished(toys, **changes)
    settings = toys.settings(**changes, reuse=True)
    new = driver(toys, settings, gathered({"old": old}, settings))
    assert new.run() == "trials"
    assert faults(new.log.events, files=False) == []
    bodies = [(e.kind, e.version, e.body) for e in new.log.events]

    def faults_of(changed: list[tuple[Any, int, dict[str, Any]]]) -> list[str]:
        written = [Event(n, kind, version, 0.0, body) for n, (kind, version, body) in enumerate(changed, 1)]
        return faults(written, files=False)

    place = next(n for n, (kind, _, _) in enumerate(bodies) if kind == "reused")
    reused = bodies[place][2]
    piece = next(item for item in bodies if item[0] == "evidence" and item[2]["trial"] == reused["source"])
    late = faults_of([*bodies, piece])
    assert any("was written after the first trial was asked." in fault for fault in late)
    assert any("stands there twice." in fault for fault in late)
    without = faults_of([item for item in bodies if item is not piece])
    what = f"trial {reused['trial']} reuses trial {reused['source']} of old"
    assert without == [f"{what}, of which there is no evidence."]
    short = {**reused, "epochs": reused["epochs"][:-1]}
    assert f"{what}, but not all of its epochs as the evidence has them." in faults_of(
        [*bodies[:place], ("reused", 1, short), *bodies[place + 1 :]]
    )
    other = [("evidence", 1, {**piece[2], "duplicate": "x"}) if item is piece else item for item in bodies]
    assert f"{what}, which is another training." in faults_of(other)
    claimed = [("evidence", 1, {**piece[2], "relation": "transfer"}) if i is piece else i for i in bodies]
    assert any("although it is the same training" in fault for fault in faults_of(claimed))


@pytest.mark.parametrize("is_told", [True, False])
def test_a_training_that_does_not_tell_what_is_limited_here_is_not_taken_over(
    toys: SimpleNamespace, gathered: Any, is_told: bool
) -> None:
    """Latency is measured only where a job asks for it."""

    def curve(candidate: Candidate) -> Recording:
        recording: Recording = toys.rising(candidate)
        told = tuple(scores | {"latency_ms": 8.0} for scores in recording.metrics)
        return replace(recording, metrics=told)

    changes: dict[str, Any] = {"trials": 4, "scheduler": Scheduler("none", max_epochs=9)}
    old = driver(toys, toys.settings(**changes), [opened()], curve=curve if is_told else toys.rising)
    assert old.run() == "trials"
    settings = toys.settings(**changes, reuse=True, limits={"latency_ms": 10.0})
    new = driver(toys, settings, gathered({"old": old}, settings), curve=curve)
    assert new.run() == "trials"
    assert any(event.kind == "reused" for event in new.log.events) == is_told
