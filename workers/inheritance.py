"""A trial that begins with what another trial of its search has learned."""

from dataclasses import dataclass

import torch

from search_spaces.candidate import Candidate, from_json
from search_spaces.inherit import inherit
from workers.checkpoint import load_checkpoint, trained_weights
from workers.errors import CheckpointError, MissingKeyError
from workers.seeding import derive_seed
from workers.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Start:
    """How a trial began.

    Attributes:
        share: Of its parameters, in [0, 1], those that came from its parent.
        remark: Why none did, where the parent's checkpoint could not be read or is of no use; empty otherwise.
    """

    share: float
    remark: str = ""


def start_from(location: str, trainer: Trainer, *, in_channels: int, num_outputs: int) -> Start:
    """Give a trainer at epoch 0 the weights that its parent was scored with, as far as the two networks are alike.

    The optimiser stays as it is. A checkpoint that is gone or damaged costs the inheritance, not the trial: it begins with
    the weights of its own seed, as it would without a parent.

    Args:
        location: Committed checkpoint of the parent.
        trainer: Of the child.
        in_channels: Channels that the network sees.
        num_outputs: Channels of the logits.
    """
    try:
        tensors, state = load_checkpoint(location)
    except (CheckpointError, MissingKeyError) as error:
        return Start(0.0, f"begins with its own weights, as those of its parent cannot be read: {error}")
    weights = trained_weights(tensors)
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        return Start(0.0, f"begins with its own weights, as those of its parent are not finite: {location}")
    parent = from_json(Candidate, state["candidate"])
    found = inherit(
        trainer.model,
        trainer.candidate.architecture,
        weights,
        parent.architecture,
        in_channels=in_channels,
        num_classes=num_outputs,
        ndim=len(trainer.training.view.size),
        seed=derive_seed(trainer.training.seed, "inherit"),
    )
    if trainer.average is not None:
        trainer.average.load_state_dict(trainer.model.state_dict())
    return Start(found.share)
