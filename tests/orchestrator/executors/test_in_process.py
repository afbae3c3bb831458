"""Legs in this process: the driver and the leg take turns."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.executor import Executor, Result
from orchestrator.executors.in_process import InProcessExecutor
from orchestrator.executors.simulated import Recording, SimulatedExecutor
from workers.contract import DataView, EpochResult, Leg, LegResult, Status

LEG = Leg(
    search="s", trial=4, fence=7, candidate={}, seed=0, first_epoch=0, last_epoch=3, max_epochs=3, checkpoint=None,
    data=DataView(dataset="d", digest="d", view="slices", size=(8, 8), batch=1), storage="x",
)  # fmt: skip


def run_leg(leg: Leg, report: Callable[[EpochResult], None], should_stop: Callable[[], bool]) -> LegResult:
    """Does nothing, three times."""
    epoch, status = leg.first_epoch, "completed"
    while epoch < leg.last_epoch and status == "completed":
        epoch += 1
        SEEN.append(epoch)
        report(
            EpochResult(
                search=leg.search,
                trial=leg.trial,
                fence=leg.fence,
                epoch=epoch,
                loss=0.0,
                metrics={},
                seconds=1.0,
                train_seconds=1.0,
                at=0.0,
                checkpoint="c",
            )
        )
        status = "stopped" if should_stop() else "completed"
    return result(leg, epoch, "stopped" if epoch < leg.last_epoch else "completed")


def result(leg: Leg, epoch: int, status: Status) -> LegResult:
    return LegResult(
        search=leg.search, trial=leg.trial, fence=leg.fence, status=status, epoch=epoch, seconds=3.0, at=0.0
    )


SEEN: list[int] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    SEEN.clear()


def places() -> list[Executor]:
    recording = Recording(({}, {}, {}), (1.0, 1.0, 1.0))
    return [InProcessExecutor(run_leg), SimulatedExecutor(lambda _: recording, slots=1)]


def collect(place: Executor, *, stop_after: int | None = None) -> list[Result]:
    found: list[Result] = []
    while not found or isinstance(found[-1], EpochResult):
        new = place.poll(5.0)
        found += new
        if stop_after is not None and len(found) == stop_after:
            place.stop(LEG.trial)
    return found


@pytest.mark.parametrize("index", [0, 1])
def test_a_leg_reports_its_epochs_and_its_end(index: int) -> None:
    place = places()[index]
    assert place.free == 1
    place.start(LEG)
    assert place.free == 0
    found = collect(place)
    assert [item.epoch for item in found] == [1, 2, 3, 3]
    assert isinstance(found[-1], LegResult) and found[-1].status == "completed"
    assert place.free == 1
    assert place.poll(0.01) == []
    place.close()


@pytest.mark.parametrize("index", [0, 1])
def test_a_leg_that_is_asked_to_stop_ends_after_its_epoch(index: int) -> None:
    place = places()[index]
    place.start(LEG)
    found = collect(place, stop_after=2)
    assert [item.epoch for item in found] == [1, 2, 2]
    assert isinstance(found[-1], LegResult) and found[-1].status == "stopped"
    place.start(replace(LEG, first_epoch=2, fence=8))  # the request was for the leg before
    assert [item.epoch for item in collect(place)] == [3, 3]
    place.close()


def test_nothing_runs_while_the_driver_thinks() -> None:
    before = threading.active_count()
    place = InProcessExecutor(run_leg)
    place.start(LEG)
    assert SEEN == []
    place.poll(5.0)
    assert SEEN == [1]
    place.poll(5.0)
    assert SEEN == [1, 2]
    place.close()
    assert SEEN == [1, 2]
    assert threading.active_count() == before


def test_legs_run_one_after_another() -> None:
    place = InProcessExecutor(run_leg)
    place.start(LEG)
    place.start(replace(LEG, trial=5, fence=8))
    assert {item.trial for item in collect(place)} == {4}
    assert {item.trial for item in collect(place)} == {5}
    place.close()


def test_an_exception_is_a_failed_leg_with_its_traceback() -> None:
    def broken(leg: Leg, report: object, should_stop: object) -> LegResult:
        raise KeyError("no such weight")

    place = InProcessExecutor(broken)
    place.start(LEG)
    [found] = collect(place)
    assert isinstance(found, LegResult) and found.status == "failed"
    assert found.message.splitlines()[0] == "KeyError: 'no such weight'"
    assert "Traceback" in found.message
    place.close()


def test_a_recorded_training_plays_in_virtual_time_and_breaks_as_it_did() -> None:
    recording = Recording(({"dice": 0.5},), (10.0,), startup_s=3.0, breaks="diverged")
    place = SimulatedExecutor(lambda _: recording, slots=2, start=100.0)
    place.start(LEG)
    assert place.poll(5.0) == [] and place.now == 105.0
    [first] = place.poll(60.0)
    assert (
        isinstance(first, EpochResult) and first.metrics == {"dice": 0.5} and place.now == first.at == 113.0
    )
    [last] = place.poll(60.0)
    assert isinstance(last, LegResult) and (last.status, last.epoch, last.seconds) == ("diverged", 1, 23.0)


def test_a_whole_machine_leg_waits_for_all_virtual_slots() -> None:
    recording = Recording(({}, {}, {}), (1.0, 1.0, 1.0))
    place = SimulatedExecutor(lambda _: recording, slots=2)
    place.start(LEG)
    place.start(replace(LEG, trial=5, fence=8, threads=2))
    assert place.free == 0
    assert {item.trial for item in collect(place)} == {4}
    assert {item.trial for item in collect(place)} == {5}
