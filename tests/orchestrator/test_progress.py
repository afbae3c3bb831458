"""What a user sees of an epoch."""

from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.engine.events import Event
from orchestrator.engine.objective import Objective
from orchestrator.engine.state import State
from orchestrator.progress import describe


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        ((Objective("dice"), Objective("parameters", "minimize")), "dice 0.5000, miou 0.2500"),
        ((Objective("hd95", "minimize"), Objective("dice")), "hd95 3.5000, dice 0.5000, miou 0.2500"),
        ((Objective("v_rand"),), "dice 0.5000, miou 0.2500"),  # not defined after this epoch
    ],
)
def test_an_epoch_shows_what_is_searched_for(objectives: tuple[Objective, ...], expected: str) -> None:
    state = State(objectives)
    trial: Any = SimpleNamespace(name="unet")
    state.trials.append(trial)
    metrics = {"dice": 0.5, "miou": 0.25, "hd95": 3.5, "recall": 0.1}
    body = {"trial": 0, "epoch": 3, "loss": 0.125, "metrics": metrics, "seconds": 1.25}
    line = describe(Event(1, "epoch", 1, 0.0, body), state)
    assert line == f"trial   0 unet: epoch 3, loss 0.1250, {expected}, 1.2 s"
    line = describe(Event(2, "epoch", 1, 0.0, body | {"metrics": {}}), state)
    assert line == "trial   0 unet: epoch 3, loss 0.1250, 1.2 s"
