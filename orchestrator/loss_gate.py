"""Losses that cannot train a network are turned down before a worker is used."""

from orchestrator.engine.settings import LossGate
from search_spaces.candidate import canonical
from search_spaces.loss import Loss
from search_spaces.loss_battery import Fault, fault_of
from workers.trainer import GIVEN


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
