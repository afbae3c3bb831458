"""The hub by itself: who gets which leg, what is lost, which slots open and close."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from orchestrator.executors import hub as hub_module
from orchestrator.executors.hub import Hub, Shape
from workers.contract import DataView, EpochResult, Leg, LegResult

VIEW = DataView(dataset="d", digest="d", view="slices", size=(8, 8), batch=1)


def leg(trial: int, *, threads: int = 1, fence: int | None = None) -> Leg:
    return Leg(
        search="s", trial=trial, fence=trial + 1 if fence is None else fence, candidate={}, seed=0, first_epoch=0,
        last_epoch=3, max_epochs=3, checkpoint=None, data=VIEW, storage="x", threads=threads,
    )  # fmt: skip


def epoch(of: Leg, number: int) -> EpochResult:
    return EpochResult(
        search="s", trial=of.trial, fence=of.fence, epoch=number, loss=0.0, metrics={}, seconds=1.0, train_seconds=1.0,
        at=0.0, checkpoint="c",
    )  # fmt: skip


def end(of: Leg) -> LegResult:
    return LegResult(
        search="s", trial=of.trial, fence=of.fence, status="completed", epoch=3, seconds=1.0, at=0.0
    )


def play(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def test_a_slot_takes_legs_of_its_shape_in_order_and_reports() -> None:
    async def story() -> None:
        hub = Hub()
        legs = [leg(0), leg(1)]
        for each in legs:
            await hub.submit(each)
        assert await hub.take("a", Shape(1), 11, first=True) == legs[0]
        assert await hub.pids() == {0: 11}
        assert not await hub.report("a", epoch(legs[0], 1))
        await hub.finish("a", end(legs[0]))
        assert await hub.take("a", Shape(1), 11, first=False) == legs[1]
        assert await hub.collect(0.0) == [epoch(legs[0], 1), end(legs[0])]
        assert await hub.collect(0.01) == []

    play(story())


def test_slots_open_for_legs_that_wait_up_to_the_capacity() -> None:
    async def story() -> None:
        hub = Hub()
        assert await hub.wanted(2) is False
        for trial in range(3):
            await hub.submit(leg(trial))
        assert [await hub.wanted(2) for _ in range(3)] == [Shape(1), Shape(1), False]
        await hub.take("a", Shape(1), 1, first=True)
        assert await hub.wanted(2) is False
        await hub.close()
        assert await hub.wanted(2) is True

    play(story())


def test_idle_slots_make_room_for_another_shape() -> None:
    async def story() -> None:
        hub = Hub()
        await hub.submit(leg(0))
        await hub.submit(leg(1))
        for slot in ("a", "b"):
            assert await hub.wanted(2) == Shape(1)
            taken = await hub.take(slot, Shape(1), 1, first=True)
            assert isinstance(taken, Leg)
            await hub.finish(slot, end(taken))
        idle = [asyncio.create_task(hub.take(slot, Shape(1), 1, first=False)) for slot in ("a", "b")]
        await asyncio.sleep(0)
        await hub.submit(leg(2, threads=2))
        assert [await task for task in idle] == [False, False]
        assert await hub.wanted(2) == Shape(2)
        assert await hub.take("c", Shape(2), 1, first=True) == leg(2, threads=2)

    play(story())


def test_a_leg_whose_process_died_is_reported_once_and_its_late_words_are_dropped() -> None:
    async def story() -> None:
        hub = Hub()
        await hub.submit(leg(0))
        await hub.wanted(1)
        await hub.take("a", Shape(1), 77, first=True)
        await hub.report("a", epoch(leg(0), 1))
        await hub.lost("a")
        await hub.lost("a")
        await hub.report("a", epoch(leg(0), 2))
        await hub.finish("a", end(leg(0)))
        first, lost = await hub.collect(0.0)
        assert first == epoch(leg(0), 1)
        assert isinstance(lost, LegResult)
        assert (lost.status, lost.epoch, lost.message) == ("failed", 1, "slot lost: process 77 died")
        again = leg(0, fence=9)
        await hub.submit(again)
        assert await hub.take("a", Shape(1), 78, first=True) == again  # restarted in its place
        assert hub.opening[Shape(1)] == 0

    play(story())


def test_stopping_is_for_the_leg_at_hand() -> None:
    async def story() -> None:
        hub = Hub()
        await hub.submit(leg(0))
        await hub.take("a", Shape(1), 1, first=True)
        await hub.stop(0)
        assert await hub.report("a", epoch(leg(0), 1))
        await hub.finish("a", end(leg(0)))
        await hub.submit(leg(0, fence=5))
        await hub.take("a", Shape(1), 1, first=False)
        assert not await hub.report("a", epoch(leg(0, fence=5), 2))
        await hub.close()
        assert await hub.report("a", epoch(leg(0, fence=5), 3))

    play(story())


def test_an_idle_slot_is_told_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "IDLE_S", 0.01)
    play(_asks_again())


async def _asks_again() -> None:
    assert await Hub().take("a", Shape(1), 1, first=True) is True


def test_slots_that_cannot_work_break_the_executor() -> None:
    async def story() -> None:
        hub = Hub()
        await hub.give_up("no module 'x'")
        with pytest.raises(RuntimeError, match="no module 'x'"):
            await hub.collect(1.0)

    play(story())
