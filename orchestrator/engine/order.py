"""The order of a leg: what the engine decides of it; who hands it out adds where it reads, writes and runs."""

from dataclasses import dataclass
from typing import Any

from orchestrator.engine.events import Purpose
from workers.contract import JSON, DataView, Leg


@dataclass(frozen=True, slots=True)
class LegOrder:
    """A leg to hand to an executor.

    Attributes:
        share: Slots that the leg takes.
    """

    trial: int
    fence: int
    candidate: JSON
    seed: int
    first_epoch: int
    last_epoch: int
    max_epochs: int
    checkpoint: str | None
    share: float
    purpose: Purpose

    def to_leg(self, *, search: str, data: DataView, storage: str, slot_threads: int = 1, **more: Any) -> Leg:
        """The leg, with threads for its share of slots; ``more`` are further fields of ``Leg``."""
        return Leg(
            search=search,
            trial=self.trial,
            fence=self.fence,
            candidate=self.candidate,
            seed=self.seed,
            first_epoch=self.first_epoch,
            last_epoch=self.last_epoch,
            max_epochs=self.max_epochs,
            checkpoint=self.checkpoint,
            data=data,
            storage=storage,
            threads=round(self.share * slot_threads),
            **more,
        )
