"""The hub: hands legs to slots and keeps what they report until the driver collects it. Asynchronous, and without Ray.

A slot is a long-lived process of one shape (its cores and cards) that takes one leg after another. The hub says which slots
should be opened, and closes a slot that nobody needs when legs of another shape wait. A slot whose process died comes back
under the same name, or is given up; either way its leg is reported as failed, since nobody works on it any more.
"""

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass

from orchestrator.executor import Result
from workers.contract import EpochResult, Leg, LegResult

TOUCH = 1e-6  # of a card: three thirds are one
IDLE_S = 5.0  # a slot asks again after this long, so that it notices a hub that is gone


@dataclass(frozen=True, slots=True)
class Shape:
    """What a slot takes of a node: cores, and cards or a part of one."""

    cpus: int
    gpus: float = 0


def shape_of(leg: Leg) -> Shape:
    """The slot that a leg needs."""
    return Shape(leg.threads, 1 / leg.per_card if leg.device == "cuda" else 0)


@dataclass(slots=True)
class Running:
    """A leg in a slot: since when (monotonic seconds), in which process, and how far."""

    leg: Leg
    since: float
    pid: int
    epoch: int


class Hub:
    """Shared by one driver, its fleet of slots, and what opens them; every method returns at once or waits politely."""

    def __init__(self) -> None:
        self.waiting: deque[Leg] = deque()
        self.opening: Counter[Shape] = Counter()  # slots that were asked for and have not come up
        self.slots: dict[str, Shape] = {}  # those that are open
        self.idle: Counter[Shape] = Counter()  # those that wait for a leg
        self.running: dict[str, Running] = {}
        self.results: list[Result] = []
        self.stopping: set[int] = set()
        self.broken = ""
        self.closed = False
        self.changed = asyncio.Condition()

    async def submit(self, leg: Leg) -> None:
        """Queue a leg."""
        self.stopping.discard(leg.trial)  # a request to stop was for an earlier leg
        self.waiting.append(leg)
        await self._notify()

    async def wanted(self, cpus: float, gpus: float = 0) -> Shape | bool:
        """The shape of a slot that should be opened now on a cluster of so many cores and cards.

        False where none should; True when the fleet is to end.
        """
        if self.closed:
            return True
        taken = [*self.slots.values(), *self.opening.elements()]
        free = Shape(int(cpus) - sum(one.cpus for one in taken), int(gpus) - sum(one.gpus for one in taken))
        for shape, count in Counter(map(shape_of, self.waiting)).items():
            fits = shape.cpus <= free.cpus and shape.gpus <= free.gpus + TOUCH
            if count > self.opening[shape] + self.idle[shape] and fits:
                self.opening[shape] += 1
                return shape
        return False

    async def take(self, slot: str, shape: Shape, pid: int, *, first: bool) -> Leg | bool:
        """The next leg of a slot's shape; True to ask again; False to close the slot.

        Args:
            slot: Name of the slot.
            shape: Its shape.
            pid: Its process.
            first: Whether the process asks for the first time.
        """
        if first:
            await self.lost(slot)
            if slot not in self.slots:  # else it was restarted in its place
                self.opening[shape] -= 1
            self.slots[slot] = shape
        end = time.monotonic() + IDLE_S
        self.idle[shape] += 1
        try:
            async with self.changed:
                while (left := end - time.monotonic()) > 0:
                    leg = next((leg for leg in self.waiting if shape_of(leg) == shape), None)
                    if self.closed or (leg is None and self.waiting):
                        self.slots.pop(slot, None)
                        return False
                    if leg is not None:
                        self.waiting.remove(leg)
                        self.running[slot] = Running(leg, time.monotonic(), pid, leg.first_epoch)
                        return leg
                    await _within(left, self.changed)
            return True
        finally:
            self.idle[shape] -= 1

    async def report(self, slot: str, result: EpochResult) -> bool:
        """Keep an epoch's result; True asks the leg to stop."""
        if self._is_current(slot, result.fence):
            self.running[slot].epoch = result.epoch
            self.results.append(result)
            await self._notify()
        return self.closed or result.trial in self.stopping

    async def finish(self, slot: str, result: LegResult) -> None:
        """Keep a leg's result."""
        if self._is_current(slot, result.fence):
            del self.running[slot]
            self.results.append(result)
            await self._notify()

    async def lost(self, slot: str) -> None:
        """A slot's process died; its leg, if it had one, is reported as failed."""
        running = self.running.pop(slot, None)
        if running is not None:
            leg = running.leg
            self.results.append(
                LegResult(
                    search=leg.search,
                    trial=leg.trial,
                    fence=leg.fence,
                    status="failed",
                    epoch=running.epoch,
                    seconds=time.monotonic() - running.since,
                    at=time.time(),
                    message=f"slot lost: process {running.pid} died",
                )
            )
            await self._notify()

    async def ended(self, slot: str) -> None:
        """A slot is gone for good."""
        await self.lost(slot)
        self.slots.pop(slot, None)

    async def give_up(self, reason: str) -> None:
        """No slot can work, and a restart would not help: the driver is told at its next ``collect``."""
        self.broken = reason
        await self._notify()

    async def collect(self, timeout_s: float) -> list[Result]:
        """Results since the last call, waiting for the first.

        Raises:
            RuntimeError: No slot can work.
        """
        end = time.monotonic() + timeout_s
        async with self.changed:
            while not self.results and not self.broken and (left := end - time.monotonic()) > 0:
                await _within(left, self.changed)
            if self.broken:
                raise RuntimeError(self.broken)
            results, self.results = self.results, []
            return results

    async def stop(self, trial: int) -> None:
        """Ask a trial's leg to end after its epoch."""
        self.stopping.add(trial)

    async def pids(self) -> dict[int, int]:
        """Process of each trial that runs."""
        return {running.leg.trial: running.pid for running in self.running.values()}

    async def close(self) -> None:
        """Let every slot end."""
        self.closed = True
        await self._notify()

    def _is_current(self, slot: str, fence: int) -> bool:
        return slot in self.running and self.running[slot].leg.fence == fence

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()


async def _within(timeout_s: float, changed: asyncio.Condition) -> None:
    """Wait for a change, at most so long."""
    try:
        await asyncio.wait_for(changed.wait(), timeout_s)
    except TimeoutError:
        return
