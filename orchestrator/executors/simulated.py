"""Plays recorded trainings back in virtual time: a search of hours in a second, with the decisions of the real one."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.executor import Result
from workers.contract import EpochResult, Leg, LegResult, Status


@dataclass(frozen=True, slots=True)
class Recording:
    """A training as it went.

    Attributes:
        metrics: Scores after each epoch.
        seconds: Wall time of each epoch.
        startup_s: Wall time before the first epoch of each leg.
        breaks: Status with which a leg breaks in the epoch after the last recorded one; None where the training is
            recorded to its end.
    """

    metrics: tuple[dict[str, float], ...]
    seconds: tuple[float, ...]
    startup_s: float = 0.0
    breaks: Status | None = None


@dataclass(slots=True)
class _Playing:
    leg: Leg
    recording: Recording
    begun: float
    epoch: int
    reported: float
    stopping: bool = False


class SimulatedExecutor:
    """Slots in virtual time. What a leg shall inherit is ignored: recorded trainings began with weights of their own.

    Args:
        recording: What a leg's training looked like; a function of the candidate and the seed.
        slots: Legs side by side; more wait.
        start: Virtual time of the beginning, in seconds.

    Attributes:
        now: Virtual time; it passes only in ``poll``. A driver gives it to the engine and to the journal.
    """

    def __init__(self, recording: Callable[[Leg], Recording], *, slots: int, start: float = 0.0) -> None:
        self.now = start
        self._recording = recording
        self._slots = slots
        self._queued: list[Leg] = []
        self._playing: dict[int, _Playing] = {}  # by fence
        self._due: list[tuple[float, int, int]] = []  # (time, order, fence)
        self._order = itertools.count()

    @property
    def free(self) -> int:
        """Slots that nothing runs on or waits for; a leg takes one slot for each of its threads."""
        taken = sum(playing.leg.threads for playing in self._playing.values())
        return max(0, self._slots - taken - sum(leg.threads for leg in self._queued))

    def start(self, leg: Leg) -> None:
        """Begin a leg, or queue it until its slots are free."""
        self._queued.append(leg)
        self._fill()

    def stop(self, trial: int) -> None:
        """Let the leg of a trial end after its epoch: at once, where it has just reported one."""
        for playing in self._playing.values():
            if playing.leg.trial == trial:
                playing.stopping = True
                if playing.reported == self.now:
                    self._due = [due for due in self._due if due[2] != playing.leg.fence]
                    heapq.heapify(self._due)
                    self._schedule(playing)

    def poll(self, timeout_s: float) -> list[Result]:
        """Pass to the next result within the timeout, and give it back; or pass the timeout."""
        if not self._due or self._due[0][0] > self.now + timeout_s:
            self.now += timeout_s
            return []
        self.now, _, fence = heapq.heappop(self._due)
        playing = self._playing[fence]
        result = self._next(playing)
        if isinstance(result, LegResult):
            del self._playing[fence]
            self._fill()
        else:
            playing.epoch, playing.reported = result.epoch, self.now
            self._schedule(playing)
        return [result]

    def close(self) -> None:
        """Forget all legs."""
        self._queued.clear()
        self._playing.clear()
        self._due.clear()

    def _fill(self) -> None:
        while self._queued:
            taken = sum(playing.leg.threads for playing in self._playing.values())
            if taken and taken + self._queued[0].threads > self._slots:
                return
            leg = self._queued.pop(0)
            playing = _Playing(leg, self._recording(leg), self.now, leg.first_epoch, -1.0)
            self._playing[leg.fence] = playing
            self._schedule(playing, extra_s=playing.recording.startup_s)

    def _schedule(self, playing: _Playing, *, extra_s: float = 0.0) -> None:
        ends = playing.epoch >= playing.leg.last_epoch or playing.stopping
        recorded = playing.recording.seconds
        seconds = 0.0 if ends or not recorded else recorded[min(playing.epoch, len(recorded) - 1)]
        heapq.heappush(self._due, (self.now + extra_s + seconds, next(self._order), playing.leg.fence))

    def _next(self, playing: _Playing) -> Result:
        leg, recording, epoch = playing.leg, playing.recording, playing.epoch
        if epoch >= leg.last_epoch:
            return self._end(playing, "completed")
        if playing.stopping and epoch > leg.first_epoch:
            return self._end(playing, "stopped")
        if epoch >= len(recording.metrics):
            return self._end(playing, recording.breaks or "failed")
        return EpochResult(
            search=leg.search,
            trial=leg.trial,
            fence=leg.fence,
            epoch=epoch + 1,
            loss=0.0,
            metrics=recording.metrics[epoch],
            seconds=recording.seconds[epoch],
            train_seconds=recording.seconds[epoch],
            at=self.now,
            checkpoint=f"simulated/{leg.trial}/{epoch + 1}",
        )

    def _end(self, playing: _Playing, status: Status) -> LegResult:
        leg = playing.leg
        return LegResult(
            search=leg.search,
            trial=leg.trial,
            fence=leg.fence,
            status=status,
            epoch=playing.epoch,
            seconds=self.now - playing.begun,
            at=self.now,
            message="" if status in ("completed", "stopped") else f"recorded as {status}",
        )
