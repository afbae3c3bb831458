"""Runs legs in this process, one at a time: the twin of the cluster for a debugger, and for one slot.

A leg runs on a thread of its own and stands still while its report waits to be collected, so at any moment either the driver
or the leg runs, never both: an epoch is in the journal before the next one begins, and a search repeats exactly.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable

from orchestrator.executor import Result, failed
from workers.contract import EpochResult, Leg, LegResult

RunLeg = Callable[[Leg, Callable[[EpochResult], None], Callable[[], bool]], LegResult]


class _AbandonedError(BaseException):
    """Unwinds a leg whose executor was closed."""


class InProcessExecutor:
    """One slot in this process.

    Args:
        run_leg: Trains a leg: ``workers.leg.run_leg``.
    """

    def __init__(self, run_leg: RunLeg) -> None:
        self._run_leg = run_leg
        self._queued: deque[Leg] = deque()
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._running: Leg | None = None
        self._thread: threading.Thread | None = None
        self._go = threading.Semaphore(0)
        self._stopping: set[int] = set()
        self._paused = self._closed = False

    @property
    def free(self) -> int:
        """1 while nothing runs or waits."""
        return int(self._running is None and not self._queued)

    def start(self, leg: Leg) -> None:
        """Put a leg into the queue; it begins at the next ``poll``."""
        self._queued.append(leg)

    def stop(self, trial: int) -> None:
        """Ask the leg of a trial to end after its epoch."""
        self._stopping.add(trial)

    def poll(self, timeout_s: float) -> list[Result]:
        """Let the leg go on until it reports, and take the report."""
        if self._running is None and self._queued:
            self._begin(self._queued.popleft())
        if self._running is None:
            return []
        if self._paused:
            self._paused = False
            self._go.release()
        try:
            result = self._results.get(timeout=timeout_s)
        except queue.Empty:
            return []
        if isinstance(result, LegResult):
            assert self._thread is not None
            self._thread.join()
            self._running = self._thread = None
            self._stopping.discard(result.trial)
        else:
            self._paused = True
        return [result]

    def close(self) -> None:
        """End the leg at its next report and forget those that wait."""
        self._queued.clear()
        self._closed = True
        if self._thread is not None:
            self._go.release()
            self._thread.join()
            self._running = self._thread = None

    def _begin(self, leg: Leg) -> None:
        self._running, self._go, self._paused = leg, threading.Semaphore(0), False
        self._thread = threading.Thread(
            target=self._work, args=(leg,), name=f"trial {leg.trial}", daemon=True
        )
        self._thread.start()

    def _work(self, leg: Leg) -> None:
        begun = time.monotonic()
        try:
            result = self._run_leg(leg, self._report, lambda: self._closed or leg.trial in self._stopping)
        except _AbandonedError:
            return
        except Exception as error:  # the border of a trial: run_leg itself broke
            result = failed(leg, error, seconds=time.monotonic() - begun)
        self._results.put(result)

    def _report(self, result: EpochResult) -> None:
        self._results.put(result)
        self._go.acquire()
        if self._closed:
            raise _AbandonedError
