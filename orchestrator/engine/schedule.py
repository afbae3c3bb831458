"""The contract of what judges trials: ``pausing.Pausing`` and ``stopping.Stopping``."""

from dataclasses import dataclass
from typing import Protocol

from orchestrator.engine.objective import Vector
from orchestrator.engine.trial import Trial


@dataclass(frozen=True, slots=True)
class Promotion:
    """A paused trial may train on; ``judged`` is False where its rung was blind."""

    trial: int
    to_epoch: int
    judged: bool


class Schedule(Protocol):
    """Judges trials of the search, of which it hears by ``update``."""

    def update(self, trial: Trial) -> None:
        """Take note of how a trial stands now."""

    def entry(self) -> int:
        """Epochs to which the next new trial may train."""

    def step(self, *, closing: bool) -> Promotion | None:
        """The paused trial that goes on, if any.

        Args:
            closing: Whether no new trial can begin, so that waiting for more results is idling.
        """

    def halt(self, trial: Trial, epoch: int, score: Vector | None) -> str | None:
        """Why a running trial must end after an epoch, or None.

        Args:
            trial: As it stood before the epoch.
            epoch: The epoch that it reports.
            score: Its scores of this epoch, where all are known.
        """
