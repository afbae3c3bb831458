"""What other searches found: shown to samplers, or asked first."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from sources import PROTOCOL, driver, finished, opened, shown

from orchestrator.audit import faults
from orchestrator.engine.events import Draft
from orchestrator.engine.evidence import FIRST
from orchestrator.engine.leaderboard import leaderboard
from orchestrator.engine.samplers.tpe import TreeParzen
from orchestrator.engine.settings import Scheduler
from orchestrator.executors.simulated import Recording
from search_spaces.candidate import Candidate, from_json
from search_spaces.narrow import narrow


def note(drafts: Sequence[Draft]) -> list[dict[str, Any]]:
    [found] = [draft.body["data"]["sources"] for draft in drafts if draft.kind == "noted"]
    return found  # type: ignore[no-any-return]  # the driver comes from a namespace


def test_samplers_see_identical_evidence_as_they_saw_it_in_its_own_search(
    toys: SimpleNamespace, gathered: Any
) -> None:
    old = finished(toys, repeats=2)
    settings = toys.settings()
    first = gathered({"old": old}, settings)
    assert note(first) == [{"search": "old", "relation": "identical", "kept": 14, "outside": 0, "beyond": 0}]
    new = driver(toys, settings, first)
    new.engine.replay(new.log.events)
    assert shown(new.engine) == shown(old.engine)
    assert new.engine.state.trials == []
    assert new.engine.state.spent_s(1e9) == 0


def test_other_rungs_see_the_epochs_that_they_are_about(toys: SimpleNamespace, gathered: Any) -> None:
    old = finished(toys)
    settings = toys.settings(scheduler=Scheduler("asha", max_epochs=9, min_epochs=2, reduction=2))
    new = driver(toys, settings, gathered({"old": old}, settings))
    new.engine.replay(new.log.events)
    for item in shown(new.engine):
        [trial] = [t for t in old.engine.state.searched if t.trace == item.trace]
        assert item.scores == tuple((e, trial.scores[e]) for e in (2, 4, 8, 9) if e in trial.scores)


def test_a_narrowed_space_drops_what_is_outside_and_counts_it(toys: SimpleNamespace, gathered: Any) -> None:
    old = finished(toys)
    inside = sum(t.trace["recipe.optimiser"] == "adamw" for t in old.engine.state.searched)
    settings = toys.settings(space=narrow(toys.space, {"recipe.optimiser": "adamw"}))
    first = gathered({"old": old}, settings)
    assert 0 < inside < 12
    assert note(first) == [
        {"search": "old", "relation": "identical", "kept": inside, "outside": 12 - inside, "beyond": 0}
    ]
    assert all(d.body["trace"]["recipe.optimiser"] == "adamw" for d in first if d.kind == "evidence")
    new = driver(toys, settings, first)
    assert new.run() == "trials"
    assert faults(new.log.events, files=False) == []


def test_what_is_beyond_a_new_limit_is_left_out(toys: SimpleNamespace, gathered: Any) -> None:
    def gate(candidate: Candidate) -> dict[str, float]:
        return {"parameters": 1.0 + (candidate.recipe.optimiser == "sgd")}

    old = finished(toys, gate=gate)
    within = sum(t.profile["parameters"] == 1.0 for t in old.engine.state.searched)
    found = gathered({"old": old}, toys.settings(gate=gate, constraints={"parameters": 1.5}))
    assert note(found)[0] | {"kept": within, "beyond": 12 - within} == note(found)[0]


def test_a_sampler_begins_with_its_model_where_evidence_suffices(
    toys: SimpleNamespace, gathered: Any
) -> None:
    """TPE draws its first ten at random; with evidence its first proposals are near what was best."""
    scheduler = Scheduler("none", max_epochs=9)
    old = finished(toys, trials=30, seed=5, scheduler=scheduler)
    settings = toys.settings(trials=10, sampler=TreeParzen(), seed=1, scheduler=scheduler)
    fork = driver(toys, settings, gathered({"old": old}, settings))
    fresh = driver(toys, settings, [opened()])
    quality = {}
    for name, search in {"fork": fork, "fresh": fresh}.items():
        assert search.run() == "trials"
        candidates = [from_json(Candidate, t.candidate) for t in search.engine.state.searched]
        quality[name] = sum(map(toys.quality, candidates)) / len(candidates)
    assert quality["fork"] > quality["fresh"] + 0.05


@pytest.mark.parametrize(
    "origin", [{"data": "other"}, {"protocol": {**PROTOCOL, "max_epochs": 27}}], ids=["data", "horizon"]
)
def test_transfer_asks_the_best_there_first_and_shows_samplers_nothing(
    toys: SimpleNamespace, gathered: Any, origin: dict[str, Any]
) -> None:
    old = finished(toys)
    settings = toys.settings(trials=8, slots=1)
    first = gathered({"old": old}, settings, **origin)
    assert note(first)[0]["relation"] == "transfer"
    new = driver(toys, settings, first)
    new.engine.replay(new.log.events)
    assert shown(new.engine) == []
    assert new.run() == "trials"
    best = [row.digest for row in leaderboard(old.engine.state)][:FIRST]
    searched = new.engine.state.searched
    assert [t.digest for t in searched[:FIRST]] == best
    assert [t.source for t in searched] == ["evidence"] * FIRST + ["random"] * (8 - FIRST)
    assert searched[0].name.endswith(" of old")
    assert all(t.cost.total > 0 for t in searched)


def test_what_is_asked_first_and_rejected_is_asked_once(toys: SimpleNamespace, gathered: Any) -> None:
    old = finished(toys)
    best = leaderboard(old.engine.state)[0].digest

    def gate(candidate: Candidate) -> dict[str, float]:
        return {"parameters": float(toys.quality(candidate) > 0.97 * quality)}

    quality = toys.quality(
        from_json(Candidate, old.engine.state.trials[leaderboard(old.engine.state)[0].trial].candidate)
    )
    settings = toys.settings(gate=gate, constraints={"parameters": 0.5})
    new = driver(toys, settings, gathered({"old": old}, settings, data="other"))
    assert new.run() == "trials"
    rejected = [e.body for e in new.log.events if e.kind == "rejected" and e.body["source"] == "evidence"]
    assert [body["digest"] for body in rejected].count(best) == 1


def test_an_unfinished_source_gives_what_it_had(toys: SimpleNamespace, gathered: Any) -> None:
    old = driver(toys, toys.settings(), [opened()])
    assert old.run(until=30) is None
    scored = sum(bool(t.scores) for t in old.engine.state.trials)
    settings = toys.settings()
    first = gathered({"old": old}, settings)
    assert note(first)[0]["kept"] == scored > 0
    new = driver(toys, settings, first)
    new.engine.replay(new.log.events)
    assert {item.state for item in shown(new.engine)} == {"scored"}


def test_who_diverged_there_is_shown_as_failed(toys: SimpleNamespace, gathered: Any) -> None:
    def curve(candidate: Candidate) -> Recording:
        whole: Recording = toys.rising(candidate)
        return (
            replace(whole, breaks="diverged", metrics=whole.metrics[:1], seconds=whole.seconds[:1])
            if candidate.recipe.optimiser == "sgd"
            else whole
        )

    old = driver(toys, toys.settings(), [opened()], curve=curve)
    assert old.run() == "trials"
    settings = toys.settings()
    new = driver(toys, settings, gathered({"old": old}, settings))
    new.engine.replay(new.log.events)
    assert shown(new.engine) == shown(old.engine)
    assert any(item.violation > 0 for item in shown(new.engine))


def test_who_ran_out_of_memory_there_is_known_as_far_as_it_came(toys: SimpleNamespace, gathered: Any) -> None:
    def curve(candidate: Candidate) -> Recording:
        whole: Recording = toys.rising(candidate)
        return replace(whole, breaks="out_of_memory", metrics=whole.metrics[:1], seconds=whole.seconds[:1])

    old = driver(toys, toys.settings(scheduler=Scheduler("none", max_epochs=9)), [opened()], curve=curve)
    assert old.run() == "trials"
    assert {t.status for t in old.engine.state.trials} == {"out_of_memory"}
    settings = toys.settings()
    new = driver(toys, settings, gathered({"old": old}, settings))
    new.engine.replay(new.log.events)
    assert {item.state for item in shown(new.engine)} == {"scored"}
    assert [item.scores for item in shown(new.engine)] == [
        ((1, t.scores[1]),) for t in old.engine.state.trials
    ]
