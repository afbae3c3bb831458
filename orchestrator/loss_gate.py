"""Losses that cannot train a network are turned down before a worker is used."""

import random

from orchestrator.engine.settings import LossGate
from search_spaces.candidate import canonical
from search_spaces.loss import Loss
from search_spaces.loss_battery import Fault, fault_of
from search_spaces.space import Space, sample
from workers.trainer import GIVEN

DRAWN = 30  # candidates of one loss, after which a space is taken to have no other


def make_loss_gate(num_classes: int, *, regions: bool = False) -> LossGate:
    """Why a loss cannot train a network of so many classes, or None; each loss is looked at once in a process.

    Args:
        regions: Whether regions are learned, each of which is a problem of two classes.
    """

    def gate(loss: Loss) -> Fault | None:
        if lacking := sorted(loss.needs - GIVEN):
            return Fault(
                "needs", f"a term needs {', '.join(lacking)}, which training does not give; leave it out"
            )
        if regions and not loss.of_logits:
            return Fault(
                "needs", "a term looks at objects of classes, not of regions; leave out data.regions"
            )
        return fault_of(canonical(loss), num_classes=num_classes)

    return gate


def fault_of_space(space: Space, gate: LossGate) -> Fault | None:
    """Why no candidate of a space can train, where all have one loss; a space of several losses is left to the search."""
    rng = random.Random(0)
    loss = sample(space, rng).loss
    alone = all(sample(space, rng).loss == loss for _ in range(DRAWN - 1))
    return gate(loss) if alone else None
