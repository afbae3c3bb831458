"""Children of an evolution begin with the weights of their parents; what follows from it for legs, replays and evidence."""

import random
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from sources import driver, finished, opened, shown

from orchestrator.audit import faults
from orchestrator.engine.engine import Engine
from orchestrator.engine.events import Event, asked, upcast
from orchestrator.engine.inheritance import Heirs, parent_of
from orchestrator.engine.leaderboard import leaderboard
from orchestrator.engine.order import first_order
from orchestrator.engine.sampler import Breeder, Sampler
from orchestrator.engine.samplers.evolution import Evolution
from orchestrator.engine.samplers.pareto_evolution import ParetoEvolution
from orchestrator.engine.settings import Scheduler
from orchestrator.engine.trial import Parent
from orchestrator.executors.simulated import Recording
from search_spaces.candidate import Candidate, digest, from_json
from search_spaces.register import kinds, lookup
from search_spaces.space import encode, mutate
from workers.contract import INHERITED

ASHA = Scheduler("asha", max_epochs=9, min_epochs=1, reduction=3)
INHERIT = {"sampler": Evolution(startup=3), "inherit": True, "trials": 12, "scheduler": ASHA}


def told(toys: SimpleNamespace, candidate: Candidate, share: float = 0.75) -> Recording:
    """A curve whose first epoch says how much was inherited."""
    whole: Recording = toys.rising(candidate)
    first, *rest = whole.metrics
    return replace(whole, metrics=({**first, INHERITED: share}, *rest))


def run(toys: SimpleNamespace, *, share: float = 0.75, **changes: Any) -> Any:
    made = driver(
        toys,
        toys.settings(**INHERIT | changes),
        [opened()],
        curve=lambda candidate: told(toys, candidate, share),
    )
    assert made.run() == "trials"
    return made


def bodies(made: Any, kind: str) -> list[dict[str, Any]]:
    return [event.body for event in made.log.events if event.kind == kind]


def test_which_samplers_breed() -> None:
    able = [kind for kind in kinds(Sampler) if issubclass(lookup(Sampler, kind), Breeder)]
    assert able == ["evolution", "pareto_evolution"]


@pytest.mark.parametrize(
    "sampler", [Evolution(startup=3, crossed=0.0), ParetoEvolution(startup=3, crossed=0.0)]
)
def test_a_child_names_its_parent_and_its_first_leg_carries_the_checkpoint(
    toys: SimpleNamespace, sampler: Breeder
) -> None:
    made = run(toys, sampler=sampler)
    state, committed = made.engine.state, set()
    heirs = [trial for trial in state.searched if trial.parent is not None]
    assert len(heirs) >= 6 and all(trial.source == "sampler" for trial in heirs)
    for event in made.log.events:
        if event.kind == "epoch":
            committed.add((event.body["trial"], event.body["epoch"], event.body["checkpoint"]))
        if event.kind == "asked" and (parent := event.body["parent"]):
            assert (parent["trial"], parent["epoch"], parent["checkpoint"]) in committed
    for leg in made.started:
        trial = state.trials[leg.trial]
        begins = leg.first_epoch == 0 and trial.parent is not None
        assert leg.inherit == (trial.parent.checkpoint if begins else None)
        assert (leg.checkpoint is None) == (leg.first_epoch == 0)
    for trial in heirs:  # one to three changes away from whom it names
        changed = set(trial.trace.items()) ^ set(state.trials[trial.parent.trial].trace.items())
        assert len({path for path, _ in changed}) <= 4
    assert faults(made.log.events, files=False) == []


def test_without_the_option_nobody_inherits(toys: SimpleNamespace) -> None:
    made = run(toys, inherit=False)
    assert all(body["parent"] is None for body in bodies(made, "asked"))
    assert all(leg.inherit is None for leg in made.started)
    same = [(t.digest, t.scores) for t in made.engine.state.trials]
    assert [(t.digest, t.scores) for t in run(toys).engine.state.trials] == same  # it changes no proposal


def test_a_leg_that_broke_down_before_an_epoch_inherits_the_same_again(toys: SimpleNamespace) -> None:
    made = run(toys, slots=1)
    place = next(n for n, e in enumerate(made.log.events) if e.kind == "asked" and e.body["parent"])
    number, parent = (made.log.events[place].body[name] for name in ("trial", "parent"))
    again = driver(toys, made.settings, [opened()])
    again.log.events = made.log.events[: place + 2]  # its first leg was started, and the driver died
    assert again.log.events[-1].kind == "leg_started"
    again.curve = lambda candidate: told(toys, candidate)
    assert again.run() == "trials"
    first = again.started[0]
    assert (first.trial, first.first_epoch, first.inherit) == (number, 0, parent["checkpoint"])


def test_kills_and_replays_change_nothing(toys: SimpleNamespace) -> None:
    whole = run(toys, slots=1)
    story = [(t.digest, t.verdict, t.scores, t.parent) for t in whole.engine.state.trials]
    for length in range(20, len(whole.log.events), 7):
        killed = driver(
            toys, whole.settings, [opened()], curve=lambda candidate: told(toys, candidate), torn=False
        )
        if killed.run(until=length) is None:
            assert killed.run() == "trials"
        assert [(t.digest, t.verdict, t.scores, t.parent) for t in killed.engine.state.trials] == story
    replayed = Engine(whole.settings)
    replayed.replay(whole.log.events)
    assert leaderboard(replayed.state) == leaderboard(whole.engine.state)


def test_who_diverged_or_was_beyond_a_limit_passes_nothing_on(toys: SimpleNamespace) -> None:
    state = run(toys).engine.state
    trial = next(t for t in state.searched if t.checkpoint)
    assert parent_of(state, toys.space, trial.trace) == Parent(trial.number, trial.epoch, trial.checkpoint)
    assert parent_of(state, toys.space, None) is None
    before = trial.verdict
    trial.verdict = "diverged"
    assert parent_of(state, toys.space, trial.trace) is None
    trial.verdict, trial.violation = before, 0.1
    assert parent_of(state, toys.space, trial.trace) is None
    trial.violation, trial.checkpoint = 0.0, None
    assert parent_of(state, toys.space, trial.trace) is None
    stranger = mutate(toys.space, from_json(Candidate, trial.candidate), random.Random(0))
    assert digest(stranger) not in state.digests
    assert parent_of(state, toys.space, encode(toys.space, stranger)) is None


def test_a_checkpoint_is_needed_until_every_child_has_an_epoch_or_a_verdict(toys: SimpleNamespace) -> None:
    trials = run(toys).engine.state.searched[:2]
    heirs = Heirs()
    for trial in trials:
        trial.parent, trial.epoch, trial.verdict = Parent(0, 1, "here"), 0, None
        heirs.update(trial)
    assert heirs.need("here") and not heirs.need("elsewhere")
    trials[0].epoch = 1
    heirs.update(trials[0])
    heirs.update(trials[0])
    assert heirs.need("here")
    trials[1].verdict = "stopped"  # an extension would take it up
    heirs.update(trials[1])
    assert heirs.need("here")
    trials[1].verdict = "failed"
    heirs.update(trials[1])
    assert not heirs.need("here")


def test_the_leaderboard_says_with_whose_weights_a_trial_began(toys: SimpleNamespace) -> None:
    made = run(toys)
    parents = {t.number: t.parent.trial if t.parent else None for t in made.engine.state.trials}
    rows = leaderboard(made.engine.state)
    assert {row.trial: row.parent for row in rows} == parents
    assert any(parents.values()) and all(row.inherited == 0.75 for row in rows)
    own = run(toys, share=0.0)  # no checkpoint could be read: trainings like any other
    assert any(t.parent for t in own.engine.state.trials)
    assert all(row.parent is None for row in leaderboard(own.engine.state))


def test_what_inherited_is_no_evidence_of_equal_worth_and_no_training_to_reuse(
    toys: SimpleNamespace, gathered: Any
) -> None:
    changes = {"scheduler": Scheduler("none", max_epochs=9), "trials": 10, "slots": 1}
    old = run(toys, **changes)
    heirs = {t.digest for t in old.engine.state.searched if t.is_heir}
    others = {t.digest for t in old.engine.state.searched} - heirs
    assert heirs and others
    settings = toys.settings(trials=4, reuse=True, scheduler=Scheduler("none", max_epochs=9))
    first = gathered({"old": old}, settings)
    relation = {d.body["digest"]: d.body["relation"] for d in first if d.kind == "evidence"}
    assert relation == dict.fromkeys(heirs, "transfer") | dict.fromkeys(others, "identical")
    new = driver(toys, settings, first, curve=toys.rising)
    new.engine.replay(new.log.events)
    assert len(shown(new.engine)) == len(others)
    assert new.run() == "trials"
    assert {new.engine.state.trials[body["trial"]].digest for body in bodies(new, "reused")} <= others
    assert faults(new.log.events, files=False) == []


def test_an_heir_takes_no_training_over(toys: SimpleNamespace, gathered: Any) -> None:
    """Two searches of one seed propose the same; the second knows every training of the first."""
    plain = {
        "scheduler": Scheduler("none", max_epochs=9),
        "trials": 10,
        "slots": 1,
        "sampler": Evolution(startup=3),
    }
    old = finished(toys, **plain)
    settings = toys.settings(**INHERIT | plain, reuse=True)
    new = driver(toys, settings, gathered({"old": old}, settings), curve=lambda c: told(toys, c))
    assert new.run() == "trials"
    reused = {body["trial"] for body in bodies(new, "reused")}
    assert reused and all(new.engine.state.trials[number].parent is None for number in reused)


def test_an_older_journal_names_no_parents() -> None:
    draft = asked(
        0, {}, name="a", digest="d", trace={}, seed=0, source="random", purpose="search", to_epoch=1,
        max_epochs=1, profile={}, share=1.0,
    )  # fmt: skip
    assert (draft.version, draft.body["parent"]) == (2, None)
    old = {name: value for name, value in draft.body.items() if name != "parent"}
    assert upcast(Event(2, "asked", 1, 0.0, old)).body == draft.body
    assert first_order(draft, fence=1).inherit is None


def test_an_audit_names_who_could_not_have_inherited(toys: SimpleNamespace) -> None:
    made = run(toys)
    place = next(n for n, e in enumerate(made.log.events) if e.kind == "asked" and e.body["parent"])
    event = made.log.events[place]
    who = f"trial {event.body['trial']} begins with the weights of trial {event.body['parent']['trial']}"

    def faults_with(body: dict[str, Any], before: list[Event]) -> list[str]:
        changed = [*before, replace(event, body=body), *made.log.events[place + 1 :]]
        return faults([replace(e, seq=n) for n, e in enumerate(changed, 1)], files=False)

    other = {**event.body, "parent": {**event.body["parent"], "checkpoint": "other"}}
    assert faults_with(other, made.log.events[:place]) == [f"{who}, which had no such checkpoint."]
    ended = replace(event, kind="halted", body={"trial": event.body["parent"]["trial"], "violation": 0.5})
    assert faults_with(event.body, [*made.log.events[:place], ended])[:1] == [
        f"{who}, which diverged or was beyond a limit."
    ]
