"""A trial that begins with the weights of another one, through a leg."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from search_spaces.candidate import Candidate
from search_spaces.encoders.cells import Cells
from workers.checkpoint import MANIFEST, TENSORS, load_checkpoint, save_checkpoint, trained_weights
from workers.contract import INHERITED, EpochResult, Leg, LegResult
from workers.leg import open_work, run_leg

MakeLeg = Callable[..., Leg]


def run(leg: Leg) -> tuple[LegResult, list[EpochResult]]:
    epochs: list[EpochResult] = []
    return run_leg(leg, epochs.append, lambda: False), epochs


@pytest.fixture
def wider(small: Candidate) -> Candidate:
    """The small candidate with twice the channels."""
    encoder = small.architecture.encoder
    assert isinstance(encoder, Cells)
    architecture = dataclasses.replace(small.architecture, encoder=dataclasses.replace(encoder, width=16))
    return dataclasses.replace(small, architecture=architecture)


@pytest.fixture
def parent(make_leg: MakeLeg) -> str:
    """The checkpoint of a parent after some epochs."""
    _, epochs = run(make_leg(trial=1, fence=1, last_epoch=4))
    return epochs[-1].checkpoint


def test_a_child_begins_with_the_weights_that_its_parent_was_scored_with(
    make_leg: MakeLeg, wider: Candidate, parent: str
) -> None:
    same = open_work(make_leg(inherit=parent)).trainer
    scored = trained_weights(load_checkpoint(parent)[0])
    assert all(torch.equal(tensor, scored[name]) for name, tensor in same.model.state_dict().items())
    assert same.average is not None
    assert all(torch.equal(tensor, scored[name]) for name, tensor in same.average.state_dict().items())
    assert same.optimiser.state_dict()["state"] == {}
    images = torch.randn(2, 1, 16, 16)
    more = open_work(make_leg(wider, inherit=parent)).trainer
    assert torch.allclose(more.network(images), same.network(images), atol=1e-4)


def test_the_first_epoch_says_how_much_came_from_the_parent(
    make_leg: MakeLeg, wider: Candidate, parent: str
) -> None:
    own, plain = run(make_leg(wider))
    result, epochs = run(make_leg(wider, fence=8, inherit=parent))
    assert result.status == own.status == "completed" and result.message == ""
    assert epochs[0].metrics[INHERITED] == 1.0
    assert INHERITED not in epochs[1].metrics and INHERITED not in plain[0].metrics
    assert epochs[0].loss < plain[0].loss
    _, again = run(make_leg(wider, fence=9, inherit=parent))  # as after a crash
    assert [(e.loss, e.metrics) for e in again] == [(e.loss, e.metrics) for e in epochs]
    onwards = make_leg(wider, fence=10, first_epoch=1, inherit=parent, checkpoint=epochs[0].checkpoint)
    _, rest = run(onwards)
    assert [(e.loss, e.metrics) for e in rest] == [(e.loss, e.metrics) for e in epochs[1:]]


@pytest.mark.parametrize("damage", ["gone", "altered"])
def test_without_the_parents_checkpoint_a_trial_begins_as_one_without_parent(
    make_leg: MakeLeg, parent: str, damage: str
) -> None:
    if damage == "gone":
        (Path(parent) / MANIFEST).unlink()
    else:
        (Path(parent) / TENSORS).write_bytes(b"nothing")
    _, plain = run(make_leg())
    result, epochs = run(make_leg(fence=8, inherit=parent))
    assert result.status == "completed"
    assert result.message.startswith("begins with its own weights, as those of its parent cannot be read: ")
    assert epochs[0].metrics.pop(INHERITED) == 0.0
    assert [(e.loss, e.metrics) for e in epochs] == [(e.loss, e.metrics) for e in plain]


def test_weights_that_are_not_finite_are_not_passed_on(
    make_leg: MakeLeg, parent: str, tmp_path: Path
) -> None:
    tensors, state = load_checkpoint(parent)
    name = next(name for name in tensors if name.startswith("average/head"))
    tensors[name][0] = float("nan")
    start = open_work(make_leg(inherit=save_checkpoint(str(tmp_path), "broken", tensors, state))).start
    assert start is not None and start.share == 0.0
    assert "those of its parent are not finite" in start.remark
