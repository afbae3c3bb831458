"""The decisions of a search follow from its journal, whatever it is told to do; one altered decision is found."""

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from sources import driver as driver_from
from sources import finished, opened

from orchestrator.engine import events
from orchestrator.engine.decisions import Followed, follow
from orchestrator.engine.events import Event
from orchestrator.engine.objective import Objective
from orchestrator.engine.sampler import Sampler
from orchestrator.engine.samplers.evolution import Evolution
from orchestrator.engine.screening import Screening
from orchestrator.engine.settings import ONE_OBJECTIVE, EngineSettings, Kind, Scheduler
from orchestrator.executors.simulated import Recording
from search_spaces.candidate import Candidate
from search_spaces.loss import Loss
from search_spaces.loss_battery import Fault
from search_spaces.register import kinds, lookup

SMALL = Scheduler("asha", max_epochs=8, min_epochs=1, reduction=2)
TWO = (Objective("dice"), Objective("parameters", "minimize"))


def unmeasured(_what: object) -> Any:
    raise AssertionError("nothing is measured again")


def again(driver: Any, written: list[Event] | None = None) -> Followed:
    """Follow a toy search without its gates."""
    settings: EngineSettings = driver.settings
    screening = settings.screening and replace(settings.screening, measure=unmeasured)
    blind = replace(settings, gate=unmeasured, loss_gate=unmeasured, screening=screening)
    return follow(
        driver.log.events if written is None else written,
        lambda told: replace(blind, slots=told["slots"], whole=told["whole"]),
    )


def check_same(driver: Any) -> Followed:
    """All decisions follow."""
    found = again(driver)
    assert found.difference is None
    assert sum(found.same.values()) == found.decisions > 0 == found.untold
    return found


def sized(candidate: Candidate) -> dict[str, float]:
    return {"parameters": round(1e6 * candidate.recipe.learning_rate, 3), "macs": 1.0}


def noisy(toys: SimpleNamespace) -> Callable[[Candidate], Recording]:
    """Curves that cross, of which some are silent at first and some break down."""

    def curve(candidate: Candidate) -> Recording:
        rng = random.Random(round(1e9 * candidate.recipe.learning_rate))
        whole: Recording = toys.rising(candidate)
        silent, noise = rng.choice((0, 0, 1, 2, 4, 5, 9)), rng.choice((0.0, 0.05, 0.2))
        scores = [max(0.0, round(score["dice"] + rng.gauss(0, noise), 6)) for score in whole.metrics]
        told = tuple({"dice": 0.0 if epoch < silent else score} for epoch, score in enumerate(scores))
        seconds = tuple(rng.uniform(0.5, 3.0) for _ in told)
        if rng.random() < 0.1:
            status: Any = rng.choice(("diverged", "failed", "out_of_memory"))
            return replace(whole, metrics=told[: rng.randrange(4)], seconds=seconds, breaks=status)
        return replace(whole, metrics=told, seconds=seconds)

    return curve


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("several", [False, True])
def test_every_scheduler_on_several_slots(toys: SimpleNamespace, kind: Kind, several: bool) -> None:
    if several and kind in ONE_OBJECTIVE:
        return
    for seed, slots in ((0, 1), (1, 3), (2, 5)):
        settings = toys.settings(
            seed=seed, slots=slots, trials=24, repeats=2, gate=sized, batch=8, whole=min(slots, 2),
            scheduler=replace(SMALL, kind=kind), objectives=TWO if several else TWO[:1],
        )  # fmt: skip
        driver = toys.Driver(settings, curve=noisy(toys))
        assert driver.run() == "trials"
        same = check_same(driver).same
        assert same["asked"] >= 24 and same["finished"] == 1


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "gp" else name for name in kinds(Sampler)]
)
def test_every_sampler(toys: SimpleNamespace, name: str) -> None:
    several = name in ("nsga2", "nsga3", "pareto_evolution")
    settings = toys.settings(
        sampler=lookup(Sampler, name)(), trials=18, slots=3, gate=sized, objectives=TWO if several else TWO[:1],
        constraints={"parameters": 5e4}, scheduler=SMALL, presets=(("first", toys.space(lambda _, domain: domain.first)),),
    )  # fmt: skip
    driver = toys.Driver(settings, curve=noisy(toys))
    assert driver.run() in ("trials", "exhausted")
    check_same(driver)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_killed_drivers_more_slots_and_more_trials(toys: SimpleNamespace, kind: Kind) -> None:
    """Each driver has other slots, dies after some appends, and the search is extended twice."""
    settings = toys.settings(trials=12, scheduler=replace(SMALL, kind=kind), worker_hours=1.0)
    driver = toys.Driver(settings, curve=noisy(toys), torn=False)
    rng = random.Random(kind)
    for slots in (2, 4, 1, 3):
        driver.settings = replace(settings, slots=slots)
        driver.run(until=len(driver.log.events) + rng.randrange(5, 40))
    assert driver.run() == "trials"
    for _ in range(2):
        driver.log.append([events.extended(trials=5, worker_hours=1.0)], driver.now)
        assert driver.run() == "trials"
    check_same(driver)


def test_evidence_reuse_and_weights_of_parents(toys: SimpleNamespace, gathered: Any) -> None:
    changes: dict[str, Any] = {
        "space": toys.finite,
        "trials": 5,
        "scheduler": SMALL,
        "sampler": Evolution(startup=2),
    }
    old = finished(toys, **changes)
    settings = toys.settings(**changes, reuse=True, inherit=True)
    driver = driver_from(toys, settings, gathered({"old": old}, settings))
    assert driver.run() == "trials"
    assert check_same(driver).same["reused"] >= 1
    children = toys.settings(trials=14, scheduler=SMALL, sampler=Evolution(startup=3), inherit=True)
    driver = driver_from(toys, children, [opened()])
    driver.run()
    assert any(event.kind == "asked" and event.body["parent"] for event in driver.log.events)
    check_same(driver)


def test_what_gates_turn_down(toys: SimpleNamespace) -> None:
    """Each of the reasons for a rejection occurs; nothing is measured again."""

    def gate(candidate: Candidate) -> Any:
        return "no such network" if candidate.recipe.weight_decay == 0.1 else sized(candidate)

    def loss_gate(_loss: Loss) -> Fault | None:
        return Fault("finite", "it is not") if next(count) % 7 == 0 else None

    count = itertools.count(1)
    score = Screening("rate", 0.5, 4, lambda candidate: -candidate.recipe.learning_rate)
    settings = toys.settings(
        trials=20,
        gate=gate,
        loss_gate=loss_gate,
        screening=score,
        constraints={"parameters": 5e4},
        scheduler=SMALL,
    )
    driver = toys.Driver(settings)
    assert driver.run() == "trials"
    reasons = {event.body["reason"] for event in driver.log.events if event.kind == "rejected"}
    assert reasons >= {"constraint", "unbuildable", "loss", "score"}
    check_same(driver)


def test_a_space_that_is_used_up(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings(space=toys.finite, trials=50))
    assert driver.run() == "exhausted"
    assert check_same(driver).same["rejected"] >= 200


@pytest.mark.parametrize("budget", [{"wall_s": 40.0}, {"worker_hours": 0.02}])
@pytest.mark.parametrize("kind", ["asha", "asha-stopping"])
def test_budgets_that_end_running_legs(toys: SimpleNamespace, budget: dict[str, float], kind: Kind) -> None:
    driver = toys.Driver(
        toys.settings(trials=500, scheduler=Scheduler(kind, 27), **budget), curve=noisy(toys)
    )
    assert driver.run() in ("wall", "worker_hours")
    ends = [event.body["status"] for event in driver.log.events if event.kind == "leg_ended"]
    assert "stopped" in ends or kind == "asha"
    check_same(driver)


def test_a_limit_that_epochs_tell_of(toys: SimpleNamespace) -> None:
    def slow(candidate: Candidate) -> Recording:
        whole: Recording = toys.rising(candidate)
        latency = 20.0 if candidate.recipe.optimiser == "sgd" else 5.0
        return replace(whole, metrics=tuple({**score, "latency_ms": latency} for score in whole.metrics))

    driver = toys.Driver(toys.settings(limits={"latency_ms": 10.0}), curve=slow)
    driver.run()
    assert check_same(driver).same["halted"] >= 1


def test_requests_are_told_and_their_legs_decided(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings())
    driver.run()
    asked = driver.engine.request(toys.base, seed=7, epochs=3, purpose="retrain", name="base", share=9.0)
    driver.write(asked.drafts, None)
    driver.run()
    found = check_same(driver)
    assert found.requests == 1
    assert found.same["asked"] == 12


def renumbered(written: list[Event]) -> list[Event]:
    return [replace(event, seq=seq) for seq, event in enumerate(written, start=1)]


def late_results(driver: Any) -> list[Event]:
    """The journal with a result of a leg that is over, as the engine answers it."""
    written = list(driver.log.events)
    place = next(n for n, event in enumerate(written) if event.kind == "leg_ended") + 1
    body = written[place - 1].body
    late = {
        "what": "epoch",
        "trial": body["trial"],
        "fence": body["fence"],
        "expected": None,
        "epoch": 9,
        "seconds": 1.0,
    }
    return renumbered(
        [*written[:place], replace(written[place - 1], kind="refused", body=late), *written[place:]]
    )


def test_results_that_come_too_late_are_refused_again(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings(slots=1))
    driver.run()
    written = late_results(driver)
    place = next(n for n, event in enumerate(written) if event.kind == "refused")
    if written[place + 1].kind == "trial_ended":  # decided with the end of the leg, before it
        written[place : place + 2] = [written[place + 1], written[place]]
        written = renumbered(written)
    assert again(driver, written).difference is None
    assert again(driver, written).same["refused"] == 1


@pytest.fixture
def told(toys: SimpleNamespace) -> Any:
    """A search with all that can be altered."""
    settings = toys.settings(
        trials=20, slots=3, scheduler=SMALL, gate=sized, constraints={"parameters": 3e4}, repeats=1
    )
    driver = toys.Driver(settings, curve=noisy(toys))
    driver.run()
    assert again(driver).difference is None
    return driver


def altered(
    written: list[Event], kind: str, change: Callable[[dict[str, Any]], dict[str, Any]], nth: int = 0
) -> Any:
    """The journal with the nth event of a kind changed, and its number."""
    places = [place for place, event in enumerate(written) if event.kind == kind]
    place = places[nth]
    event = replace(written[place], body={**written[place].body, **change(written[place].body)})
    return [*written[:place], event, *written[place + 1 :]], event.seq


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("promoted", lambda body: {"to_epoch": 2 * body["to_epoch"]}, "with to_epoch"),
        ("promoted", lambda body: {"judged": not body["judged"]}, "with judged"),
        ("asked", lambda _: {"digest": "0" * 32}, "candidate 00000000"),
        ("asked", lambda body: {"seed": body["seed"] + 1}, "with seed"),
        ("asked", lambda body: {"to_epoch": 4}, "with to_epoch 4; the engine decides"),
        ("asked", lambda body: {"trace": {**body["trace"], "recipe.optimiser": "other"}}, "with trace"),
        ("rejected", lambda _: {"allowed": 2e4}, "with allowed 20000.0; the engine decides 30000.0"),
        ("rejected", lambda _: {"reason": "unbuildable"}, "'rejected'"),
        ("leg_started", lambda body: {"last_epoch": body["last_epoch"] + 1}, "with last_epoch"),
        ("leg_started", lambda _: {"share": 2.0}, "with share 2.0; the engine decides 1.0"),
        ("leg_ended", lambda _: {"status": "stopped"}, "was stopped, but the engine lets it go on"),
        ("trial_ended", lambda body: {"epoch": body["epoch"] + 1}, "with epoch"),
        ("finished", lambda _: {"reason": "wall"}, "'finished' (wall) with reason"),
    ],
)  # fmt: skip
def test_an_altered_decision_is_found(told: Any, kind: str, change: Any, says: str) -> None:
    for nth in (0, -1):
        written, seq = altered(told.log.events, kind, change, nth)
        found = again(told, written)
        assert found.difference is not None
        assert found.difference.seq == seq
        assert says in found.difference.message
        before = sum(
            event.kind in events.KINDS - {"opened", "leading", "epoch", "leg_ended"}
            for event in written[: seq - 1]
        )
        assert sum(found.same.values()) <= before


def test_another_trial_promoted_is_found(told: Any) -> None:
    """With its leg, so that all fits together; only the choice is another one."""
    written = list(told.log.events)
    for place, event in enumerate(written):
        if event.kind != "promoted":
            continue
        state = told.engine.state
        paused = [
            t.number for t in state.searched
            if t.number != event.body["trial"] and any(
                e.kind == "leg_ended" and e.body["trial"] == t.number and e.body["epoch"] == event.body["from_epoch"]
                for e in written[:place]
            ) and not any(e.kind == "promoted" and e.body["trial"] == t.number for e in written[:place])
        ]  # fmt: skip
        if paused:
            break
    else:
        raise AssertionError("no other trial could have gone on")
    other = {"trial": paused[0], "value": state.trials[paused[0]].values[event.body["from_epoch"]]}
    written[place] = replace(event, body=event.body | other)
    found = again(told, written).difference
    assert found is not None and found.seq == event.seq
    assert f"with trial {paused[0]}; the engine decides {event.body['trial']}" in found.message


def test_a_missing_and_an_invented_decision_are_found(told: Any) -> None:
    written = told.log.events
    place = next(n for n, event in enumerate(written) if event.kind == "promoted")
    missing = again(told, renumbered([*written[:place], *written[place + 1 :]])).difference
    assert missing is not None and missing.seq == place + 1
    # All slots are busy after the first hand-outs.
    place = next(n for n, event in enumerate(written) if event.kind == "epoch")
    invented = Event(place + 1, "finished", 1, written[place].at, {"reason": "trials", "message": ""})
    found = again(told, renumbered([*written[:place], invented, *written[place:]])).difference
    assert found is not None and found.seq == place + 1
    assert found.message == "the journal has 'finished' (trials); the engine waits for results"


def test_a_journal_cut_within_a_decision_and_a_halt_that_is_missing(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings(scheduler=replace(SMALL, kind="asha-stopping")), curve=noisy(toys))
    driver.run()
    written = driver.log.events
    place = next(n for n, event in enumerate(written) if event.kind == "halted")
    cut = again(driver, written[:place]).difference
    assert cut is not None and cut.seq == place + 1
    assert cut.message.startswith("the journal ends; the engine decides 'halted' of trial")
    gone = again(driver, renumbered([*written[:place], *written[place + 1 :]])).difference
    assert gone is not None and gone.seq == place + 1


def test_events_that_do_not_fit_are_a_difference(told: Any) -> None:
    written, seq = altered(told.log.events, "epoch", lambda _: {"trial": 77})
    found = again(told, written).difference
    assert found is not None and found.seq == seq and "never asked" in found.message


def test_a_journal_that_does_not_tell_its_slots(toys: SimpleNamespace) -> None:
    """Before version 2 of ``leading``: as many slots as legs ran side by side, and times a little after the decisions."""
    settings = toys.settings(trials=500, slots=3, wall_s=40.0)
    driver = toys.Driver(settings)
    assert driver.run() == "wall"
    old = [
        events.upcast(Event(e.seq, e.kind, 1, e.at, {"driver": {}, "fence": 1})) if e.kind == "leading" else e
        for e in driver.log.events
    ]
    found = again(driver, old)
    assert found.difference is None and found.untold == 1
    # The last leg was handed out a moment before the time was over, and written a moment after.
    last = max(n for n, event in enumerate(old) if event.kind in ("asked", "promoted"))
    late = [replace(e, at=max(e.at, 1040.0)) if n >= last else e for n, e in enumerate(old)]
    assert old[last].at < 1040.0
    assert again(driver, late).difference is None
    exact = [
        replace(e, body=driver.log.events[n].body) if e.kind == "leading" else e for n, e in enumerate(late)
    ]
    assert again(driver, exact).difference is not None


def test_values_that_are_no_numbers(toys: SimpleNamespace) -> None:
    """Losses that are not finite stand as null in a journal."""

    def nothing(candidate: Candidate) -> Recording:
        whole: Recording = toys.rising(candidate)
        return replace(
            whole, metrics=tuple({} if epoch % 2 else score for epoch, score in enumerate(whole.metrics))
        )

    driver = toys.Driver(toys.settings(), curve=nothing)
    driver.run()
    for event in driver.log.events:
        if event.kind == "epoch":
            assert math.isfinite(event.body["loss"])
            event.body["loss"] = None
    check_same(driver)
