"""Laws of the engine, driven in virtual time."""

import random
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from orchestrator.engine import events
from orchestrator.engine.engine import Engine, Finished, Start, Wait
from orchestrator.engine.leaderboard import leaderboard
from orchestrator.engine.proposal import exhaustion
from orchestrator.engine.settings import Scheduler
from orchestrator.executors.simulated import Recording
from search_spaces.candidate import Candidate, digest
from search_spaces.errors import SpaceError
from search_spaces.loss_battery import Fault
from search_spaces.space import sample
from workers.contract import EpochResult, LegResult


def kinds(driver: SimpleNamespace) -> Counter[str]:
    return Counter(event.kind for event in driver.log.events)


def test_a_search_ends_with_every_trial_judged(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings())
    assert driver.run() == "trials"
    trials = driver.engine.state.trials
    assert len(trials) == 12
    assert {trial.verdict for trial in trials} == {"completed", "stopped"}
    assert kinds(driver)["finished"] == 1
    rows = leaderboard(driver.engine.state)
    assert rows[0].epoch == 9 and rows[0].status == "completed"
    assert [row.value for row in rows] == sorted((row.value for row in rows), reverse=True)


def test_asha_trains_less_than_training_all(toys: SimpleNamespace) -> None:
    few = toys.Driver(toys.settings())
    full = toys.Driver(toys.settings(scheduler=Scheduler("none", max_epochs=9)))
    few.run()
    full.run()
    assert kinds(full)["epoch"] == 12 * 9
    assert kinds(few)["epoch"] < 12 * 9 / 2
    # Unconditional on the scheduler, the sampler's draws are the same; so is the best of them.
    assert {trial.digest for trial in few.engine.state.trials} == {
        trial.digest for trial in full.engine.state.trials
    }


def test_asking_changes_nothing(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings())
    driver.engine.replay(driver.log.events)
    first = driver.engine.ask(0.0)
    assert isinstance(first.step, Start)
    assert driver.engine.ask(0.0) == first


def test_nothing_is_trained_twice_and_a_small_space_ends(toys: SimpleNamespace) -> None:
    driver = toys.Driver(
        toys.settings(space=toys.finite, trials=60, scheduler=Scheduler("none", max_epochs=1))
    )
    assert driver.run() == "exhausted"
    trials = driver.engine.state.trials
    assert len({trial.digest for trial in trials}) == len(trials) == 6
    assert driver.engine.state.rejections["duplicate"] >= 200


def test_limits_are_kept_before_any_worker_and_counted(toys: SimpleNamespace) -> None:
    def gate(candidate: Candidate) -> dict[str, float] | str:
        if candidate.recipe.learning_rate > 5e-2:
            return "too hot to build"
        return {"parameters": 1e6 if candidate.recipe.optimiser == "sgd" else 1e5}

    driver = toys.Driver(toys.settings(gate=gate, constraints={"parameters": 5e5}))
    driver.run()
    state = driver.engine.state
    assert len(state.trials) == 12
    assert all(trial.profile == {"parameters": 1e5} for trial in state.trials)
    turned_down = [event.body for event in driver.log.events if event.kind == "rejected"]
    assert (
        state.rejections["constraint:parameters"] == sum(b["reason"] == "constraint" for b in turned_down) > 0
    )
    assert state.rejections["unbuildable"] > 0
    example = next(body for body in turned_down if body["reason"] == "constraint")
    assert (example["value"], example["allowed"]) == (1e6, 5e5)
    assert example["message"] == "parameters 1,000,000 is above the job's limit of 500,000"


def test_a_space_wholly_beyond_the_limits_ends(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings(gate=lambda _: {"parameters": 2.0}, constraints={"parameters": 1.0}))
    assert driver.run() == "exhausted"
    assert not driver.engine.state.trials


def test_presets_come_first_and_one_beyond_a_limit_is_listed(toys: SimpleNamespace) -> None:
    small = replace(
        toys.base, recipe=replace(toys.base.recipe, optimiser="adamw", learning_rate=0.01, weight_decay=0.01)
    )
    small = replace(small, recipe=replace(small.recipe, augmentation=type(small.recipe.augmentation)()))
    large = replace(small, recipe=replace(small.recipe, learning_rate=0.09))
    driver = toys.Driver(
        toys.settings(
            presets=(("large", large), ("small", small)),
            gate=lambda c: {"parameters": 9.0 if c.recipe.learning_rate == 0.09 else 1.0},
            constraints={"parameters": 5.0},
        )
    )
    driver.run()
    bodies = [event.body for event in driver.log.events if event.kind in ("asked", "rejected")]
    assert [(body["name"], body["source"]) for body in bodies[:2]] == [
        ("large", "preset"),
        ("small", "preset"),
    ]
    assert bodies[0]["reason"] == "constraint"
    assert len(driver.engine.state.trials) == 12


def test_a_failing_trial_is_tried_three_times(toys: SimpleNamespace) -> None:
    broken = Recording((), (), startup_s=1.0, breaks="failed")
    driver = toys.Driver(toys.settings(trials=1), curve=lambda _: broken)
    driver.run()
    [trial] = driver.engine.state.trials
    assert trial.verdict == "failed" and trial.message == "recorded as failed"
    assert len(driver.started) == 3
    assert trial.cost.lost == 3.0 and trial.cost.work == 0.0


def test_a_search_in_which_all_fail_alike_ends_with_the_reason_and_goes_on_when_extended(
    toys: SimpleNamespace,
) -> None:
    broken = Recording((), (), startup_s=1.0, breaks="failed")
    mended = False
    driver = toys.Driver(toys.settings(trials=40), curve=lambda c: toys.rising(c) if mended else broken)
    assert driver.run() == "failures"
    state = driver.engine.state
    assert len(state.trials) < 10  # five of them, and those that ran beside
    [message] = [event.body["message"] for event in driver.log.events if event.kind == "finished"]
    assert "trials in a row failed alike" in message and message.endswith(": recorded as failed")
    mended = True
    driver.write([events.extended(trials=1)], None)
    assert driver.run() == "trials"
    state = driver.engine.state
    assert len(state.searched) == 41
    assert sum(trial.verdict == "failed" for trial in state.trials) < 10


def test_failures_between_which_somebody_trains_end_no_search(toys: SimpleNamespace) -> None:
    broken = Recording((), (), startup_s=1.0, breaks="failed")
    known: dict[Candidate, int] = {}

    def curve(candidate: Candidate) -> Recording:
        place = known.setdefault(candidate, len(known))
        return toys.rising(candidate) if place % 5 == 4 else broken

    driver = toys.Driver(toys.settings(trials=30, slots=1), curve=curve)
    assert driver.run() == "trials"
    assert sum(trial.verdict == "failed" for trial in driver.engine.state.trials) == 24


def test_a_trial_that_advances_between_failures_goes_on(toys: SimpleNamespace) -> None:
    attempts = iter(range(100))

    def curve(candidate: Candidate) -> Recording:
        whole = toys.rising(candidate)
        reach = min(9, 1 + next(attempts))  # each attempt gets one epoch further, then breaks
        return replace(whole, metrics=whole.metrics[:reach], seconds=whole.seconds[:reach], breaks="failed")

    driver = toys.Driver(toys.settings(trials=1, scheduler=Scheduler("none", max_epochs=9)), curve=curve)
    driver.run()
    assert driver.engine.state.trials[0].verdict == "completed"
    assert len(driver.started) == 9


@pytest.mark.parametrize(("status", "legs"), [("out_of_memory", 2), ("diverged", 1)])
def test_memory_is_tried_once_more_and_divergence_not(toys: SimpleNamespace, status: str, legs: int) -> None:
    def curve(candidate: Candidate) -> Recording:
        return replace(toys.rising(candidate), metrics=({"dice": 0.1},), seconds=(2.0,), breaks=status)

    driver = toys.Driver(toys.settings(trials=1, scheduler=Scheduler("none", max_epochs=9)), curve=curve)
    driver.run()
    [trial] = driver.engine.state.trials
    assert trial.verdict == status and trial.epoch == 1 and trial.value == 0.1
    assert len(driver.started) == legs
    assert driver.started[-1].first_epoch == (1 if legs == 2 else 0)


def test_out_of_memory_cuts_batches_then_takes_the_node_then_ends(toys: SimpleNamespace) -> None:
    def curve(candidate: Candidate) -> Recording:
        return replace(
            toys.rising(candidate), metrics=({"dice": 0.1},), seconds=(2.0,), breaks="out_of_memory"
        )

    settings = toys.settings(trials=2, scheduler=Scheduler("none", max_epochs=9), batch=16, slots=2, whole=2)
    driver = toys.Driver(settings, curve=curve)
    driver.run()
    trials = driver.engine.state.trials
    assert [trial.verdict for trial in trials] == ["out_of_memory", "out_of_memory"]
    for number in (0, 1):
        legs = [order for order in driver.started if order.trial == number]
        assert [(leg.micro_batches, leg.threads) for leg in legs] == [(1, 1), (2, 1), (4, 1), (8, 1), (8, 2)]
        assert [leg.first_epoch for leg in legs] == [0, 1, 1, 1, 1]
        # one epoch of 2 s at half the slots; what the others lost is theirs
        assert trials[number].cost.work == 2.0
    again = Engine(settings)
    again.replay(driver.log.events)
    assert [trial.share for trial in again.state.trials] == [2.0, 2.0]


def test_a_trial_with_a_node_to_itself_goes_on_where_there_are_fewer_slots(toys: SimpleNamespace) -> None:
    def curve(candidate: Candidate) -> Recording:
        return replace(toys.rising(candidate), metrics=(), seconds=(), breaks="out_of_memory")

    settings = toys.settings(trials=1, scheduler=Scheduler("none", max_epochs=9), batch=4, slots=2, whole=2)
    whole = toys.Driver(settings, curve=curve)
    whole.run()
    third = [event.seq for event in whole.log.events if event.kind == "leg_started"][2]
    driver = toys.Driver(settings, curve=curve)
    driver.run(until=third)  # dies when the leg begins that has the node
    assert [leg.threads for leg in whole.started] == [1, 1, 2]
    driver.settings = replace(settings, slots=1, whole=1)
    assert driver.run() == "trials"
    [trial] = driver.engine.state.trials
    assert driver.started[-1].threads == 1 and trial.verdict == "out_of_memory" and trial.share == 1


def test_a_trial_that_fits_in_parts_stays_cut(toys: SimpleNamespace) -> None:
    attempts = iter(range(100))

    def curve(candidate: Candidate) -> Recording:
        whole = toys.rising(candidate)
        return (
            whole if next(attempts) >= 2 else replace(whole, metrics=(), seconds=(), breaks="out_of_memory")
        )

    scheduler = Scheduler("asha", max_epochs=9)
    driver = toys.Driver(toys.settings(trials=1, scheduler=scheduler, batch=16), curve=curve)
    driver.run()
    [trial] = driver.engine.state.trials
    assert trial.verdict == "completed" and trial.memory_failures == 2 and trial.failures == 0
    assert [leg.micro_batches for leg in driver.started] == [1, 2, 4, 4, 4]
    assert [leg.last_epoch for leg in driver.started] == [1, 1, 1, 3, 9]


def test_the_first_presets_train_to_their_end_at_once(toys: SimpleNamespace) -> None:
    chosen = [sample(toys.settings().space, random.Random(seed)) for seed in range(40)]
    found = list({digest(one): one for one in chosen}.values())[:5]
    presets = tuple((f"preset {n}", one) for n, one in enumerate(found))
    driver = toys.Driver(toys.settings(trials=9, scheduler=Scheduler("asha", max_epochs=9), presets=presets))
    driver.run()
    firsts = [leg.last_epoch for leg in driver.started if leg.first_epoch == 0]
    assert firsts == [9, 9, 9, 1, 1, 1, 1, 1, 1]


def test_results_of_another_leg_are_refused_and_counted(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings())
    engine: Engine = driver.engine
    engine.replay(driver.log.events)
    answer = engine.ask(0.0)
    driver.write(answer.drafts, None)
    assert isinstance(answer.step, Start)
    common = {"search": "toy", "trial": 0, "epoch": 1, "seconds": 1.0, "at": 0.0}
    old = EpochResult(**common, fence=99, loss=0.0, metrics={"dice": 1.0}, train_seconds=1.0, checkpoint="c")
    driver.write(engine.report(old, 0.0).drafts, None)
    driver.write(engine.tell(LegResult(**common, fence=99, status="completed"), 0.0), None)
    right = replace(old, fence=1)
    driver.write(engine.report(right, 0.0).drafts, None)
    driver.write(engine.report(right, 0.0).drafts, None)  # the same epoch twice
    assert engine.state.refused == 3
    assert engine.state.trials[0].values == {1: 1.0}


def test_wall_budget_stops_running_trials_after_their_epoch(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings(wall_s=10.0, trials=100, scheduler=Scheduler("none", max_epochs=27)))
    assert driver.run() == "wall"
    trials = driver.engine.state.trials
    assert [trial.verdict for trial in trials] == ["stopped", "stopped"]
    # 1 s of start-up and 2 s an epoch: the fifth ends after 11 s.
    assert [trial.epoch for trial in trials] == [5, 5]
    assert driver.engine.state.wall_s(driver.now + 100) == 11.0  # time after the search does not count


def test_worker_hours_count_every_slot(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings(worker_hours=40 / 3600, trials=100))
    assert driver.run() == "worker_hours"
    state = driver.engine.state
    assert 40 <= state.spent_s(driver.now) <= 40 + 2 * 2 * 2  # at most an epoch on each slot beyond
    assert state.spent_s(driver.now) == sum(trial.cost.total for trial in state.trials)
    assert sum(trial.cost.startup for trial in state.trials) == len(driver.started)


def test_a_request_runs_whole_after_the_search_and_only_once(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings(worker_hours=20 / 3600))
    driver.run()
    engine: Engine = driver.engine
    best = toys.base

    def ask() -> int:
        requested = engine.request(best, seed=5, epochs=20, purpose="baseline", name="preset", share=2.0)
        driver.write(requested.drafts, None)
        return requested.trial

    number = ask()
    assert ask() == number
    assert driver.run() == "worker_hours"
    trial = driver.engine.state.trials[number]
    assert (trial.verdict, trial.epoch, trial.seed, trial.share) == ("completed", 20, 5, 2.0)
    assert trial.cost.total == 2 * (1 + 20 * 2)
    assert [row.trial for row in leaderboard(driver.engine.state, purpose="baseline")] == [number]
    assert number not in [row.trial for row in leaderboard(driver.engine.state)]


def test_a_request_for_all_slots_waits_for_them_and_nothing_overtakes_it(toys: SimpleNamespace) -> None:
    driver = toys.Driver(toys.settings())
    engine: Engine = driver.engine
    engine.replay(driver.log.events)
    driver.write(engine.ask(0.0).drafts, None)
    driver.write(
        engine.request(toys.base, seed=0, epochs=1, purpose="baseline", name="b", share=9.0).drafts, None
    )
    assert engine.ask(0.0).step == Wait()
    assert engine.state.trials[1].share == 2.0  # no more than there are


def test_what_cannot_be_built_cannot_be_requested(toys: SimpleNamespace) -> None:
    engine = Engine(toys.settings(gate=lambda _: "no such layer"))
    with pytest.raises(SpaceError, match="winner: no such layer"):
        engine.request(toys.base, seed=0, epochs=1, purpose="retrain", name="winner")


def test_a_stop_ends_the_search_and_what_was_requested(toys: SimpleNamespace) -> None:
    from orchestrator.engine import events

    driver = toys.Driver(toys.settings())
    driver.run(until=20)
    driver.write(driver.engine.request(toys.base, seed=0, epochs=3, purpose="retrain", name="r").drafts, None)
    driver.write([events.stop_requested("tester")], None)
    assert driver.run() == "stop_requested"
    assert all(trial.verdict is not None for trial in driver.engine.state.trials)
    assert driver.engine.ask(driver.now) == driver.engine.ask(driver.now)
    assert driver.engine.ask(driver.now).step == Finished("stop_requested")


def test_late_bloomers_are_found(toys: SimpleNamespace) -> None:
    """A third of the trials is silent for an epoch, the best among them: as on the hippocampus slices."""

    def curve(candidate: Candidate) -> Recording:
        whole = toys.rising(candidate)
        late = toys.quality(candidate) > 0.85
        return replace(
            whole, metrics=({"dice": 0.0 if late else whole.metrics[0]["dice"]}, *whole.metrics[1:])
        )

    driver = toys.Driver(toys.settings(trials=27), curve=curve)
    driver.run()
    best = leaderboard(driver.engine.state)[0]
    assert driver.engine.state.trials[best.trial].values[1] == 0.0


def test_a_loss_that_cannot_train_a_network_is_turned_down_with_the_property_it_lacks(
    toys: SimpleNamespace,
) -> None:
    fault = Fault("recovers", "60 steps find nothing")
    driver = toys.Driver(toys.settings(loss_gate=lambda loss: fault))
    assert driver.run() == "exhausted"
    state = driver.engine.state
    assert not state.trials and state.rejections["loss"] > 0
    body = next(event.body for event in driver.log.events if event.kind == "rejected")
    assert (body["reason"], body["limit"]) == ("loss", "recovers")
    assert body["message"] == "its loss cannot train a network: 60 steps find nothing"
    assert "have a loss that cannot train a network" in exhaustion(driver.engine.settings, state)
