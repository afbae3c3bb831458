"""The order of a leg: what the engine decides of it; who hands it out adds where it reads, writes and runs."""

from dataclasses import dataclass
from typing import Any

from orchestrator.engine import events
from orchestrator.engine.events import Draft, Purpose
from orchestrator.engine.trial import Trial
from workers.contract import JSON, DataView, Leg


@dataclass(frozen=True, slots=True)
class LegOrder:
    """A leg to hand to an executor.

    Attributes:
        share: Slots that the leg takes.
        micro_batches: Parts into which each batch is cut.
        inherit: Checkpoint of another trial with whose weights it begins, where it is the first.
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
    micro_batches: int = 1
    inherit: str | None = None

    @property
    def draft(self) -> Draft:
        """The event that goes before it."""
        return events.leg_started(
            self.trial,
            self.fence,
            first_epoch=self.first_epoch,
            last_epoch=self.last_epoch,
            checkpoint=self.checkpoint,
            micro_batches=self.micro_batches,
            share=self.share,
        )

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
            micro_batches=self.micro_batches,
            inherit=self.inherit,
            threads=round(self.share * slot_threads),
            **more,
        )


def first_order(asked: Draft, *, fence: int) -> LegOrder:
    """The first leg of a trial that is being asked."""
    fields = asked.body
    return LegOrder(
        trial=fields["trial"],
        fence=fence,
        candidate=fields["candidate"],
        seed=fields["seed"],
        first_epoch=0,
        last_epoch=fields["to_epoch"],
        max_epochs=fields["max_epochs"],
        checkpoint=None,
        share=fields["share"],
        purpose=fields["purpose"],
        inherit=parent["checkpoint"] if (parent := fields["parent"]) else None,
    )


def next_order(
    trial: Trial, *, fence: int, last_epoch: int, share: float, micro_batches: int = 1
) -> LegOrder:
    """A leg of a trial from where it stands; one that has no epoch yet begins as its first leg did."""
    return LegOrder(
        trial=trial.number,
        fence=fence,
        candidate=trial.candidate,
        seed=trial.seed,
        first_epoch=trial.epoch,
        last_epoch=last_epoch,
        max_epochs=trial.max_epochs,
        checkpoint=trial.checkpoint,
        share=share,
        purpose=trial.purpose,
        micro_batches=micro_batches,
        inherit=trial.parent.checkpoint if trial.parent and trial.epoch == 0 else None,
    )
