"""The executor protocol: where legs run.

The engine decides which leg runs next; an executor runs it, here (``executors.in_process``), in virtual time
(``executors.simulated``) or on a Ray cluster (``executors.ray_tune``). An executor keeps nothing that a search needs: when
it is lost, the engine hands its legs out again from their last checkpoints.
"""

import time
import traceback
from typing import Protocol

from workers.contract import EpochResult, Leg, LegResult

Result = EpochResult | LegResult


class Executor(Protocol):
    """Runs legs side by side and gives back what they report, in order per leg."""

    @property
    def free(self) -> int:
        """Legs of one slot that would start at once."""
        ...

    def start(self, leg: Leg) -> None:
        """Accept a leg; returns at once. It waits inside the executor until its slots are free."""
        ...

    def poll(self, timeout_s: float) -> list[Result]:
        """What legs reported since the last call; waits up to ``timeout_s`` for the first.

        A leg that cannot go on (its process died) appears as a ``LegResult`` with status ``failed``.

        Raises:
            ExecutorError: The executor itself is gone.
        """
        ...

    def stop(self, trial: int) -> None:
        """Ask the running leg of a trial to end after its epoch; no effect where none runs."""
        ...

    def close(self) -> None:
        """End all legs at once and give back processes and folders."""
        ...


def failed(leg: Leg, error: Exception, *, seconds: float) -> LegResult:
    """The result of a leg that broke with an exception: one line, then the traceback."""
    lines = "".join(traceback.format_exception(error))
    message = f"{type(error).__name__}: {error}\n{lines}"
    return LegResult(
        search=leg.search,
        trial=leg.trial,
        fence=leg.fence,
        status="failed",
        epoch=leg.first_epoch,
        seconds=seconds,
        at=time.time(),
        message=message,
    )
