"""Checkpoints: what is written comes back, what is altered or unfinished is refused."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from workers.checkpoint import (
    MANIFEST,
    STATE,
    TENSORS,
    delete_checkpoint,
    load_checkpoint,
    pack,
    save_checkpoint,
    trained_weights,
    unpack,
)
from workers.errors import CheckpointError

PREFIX = "checkpoints/trial-00001/leg-000002/epoch-0003"
STATE_VALUES: dict[str, Any] = {"epoch": 3, "candidate": {"kind": "made"}, "seed": 2**62}


def tensors() -> dict[str, Tensor]:
    return {
        "model/weight": torch.arange(6.0).reshape(2, 3).t(),  # not contiguous
        "model/steps": torch.tensor(7),
        "model/half": torch.ones(3, dtype=torch.bfloat16),
    }


@pytest.fixture
def saved(tmp_path: Path) -> str:
    return save_checkpoint(str(tmp_path), PREFIX, tensors(), STATE_VALUES)


def test_round_trip(saved: str, tmp_path: Path) -> None:
    assert saved == f"{tmp_path}/{PREFIX}"
    found, state = load_checkpoint(saved)
    assert state == STATE_VALUES and found.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype


def test_nothing_is_pickled(saved: str) -> None:
    assert sorted(path.name for path in Path(saved).iterdir()) == sorted((MANIFEST, STATE, TENSORS))
    assert not any(path.read_bytes().startswith((b"\x80", b"PK")) for path in Path(saved).iterdir())


@pytest.mark.parametrize("name", [MANIFEST, STATE, TENSORS])
def test_a_missing_file_is_refused(saved: str, name: str) -> None:
    (Path(saved) / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(saved)


@pytest.mark.parametrize("name", [MANIFEST, STATE, TENSORS])
@pytest.mark.parametrize("bits", [0x01, 0x10, 0x80])
def test_each_flipped_byte_is_refused(saved: str, name: str, bits: int) -> None:
    path = Path(saved) / name
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :])
        with pytest.raises(CheckpointError):
            load_checkpoint(saved)
    path.write_bytes(whole[:-1])
    with pytest.raises(CheckpointError):
        load_checkpoint(saved)
    path.write_bytes(whole)
    load_checkpoint(saved)


def test_nothing_is_overwritten(saved: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="never overwrites"):
        save_checkpoint(str(tmp_path), PREFIX, {"other": torch.zeros(1)}, {})
    assert load_checkpoint(saved)[1] == STATE_VALUES


def test_what_a_killed_writer_left_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="never committed"):
        load_checkpoint(str(tmp_path / "nowhere"))
    (tmp_path / PREFIX).mkdir(parents=True)
    (tmp_path / PREFIX / STATE).write_text("{}")  # a writer died after this file
    with pytest.raises(CheckpointError, match="never committed"):
        load_checkpoint(str(tmp_path / PREFIX))
    with pytest.raises(CheckpointError, match="never overwrites"):
        save_checkpoint(str(tmp_path), PREFIX, tensors(), {})


def test_delete_leaves_no_checkpoint(saved: str) -> None:
    delete_checkpoint(saved)
    assert not any(path.is_file() for path in Path(saved).rglob("*"))
    with pytest.raises(CheckpointError, match="never committed"):
        load_checkpoint(saved)
    delete_checkpoint(saved)  # as a driver does that was killed before it noted the removal


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    # torch's own annotation lacks it
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("averaged", [True, False])
def test_pack_and_unpack_hold_all_that_training_needs(optimiser: str, averaged: bool, tmp_path: Path) -> None:
    def build(model: nn.Module) -> torch.optim.Optimizer:
        if optimiser == "sgd":
            return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
        return torch.optim.AdamW(model.parameters(), lr=0.1)

    def train(model: nn.Module, steps: torch.optim.Optimizer, count: int) -> None:
        for number in range(count):
            steps.zero_grad()
            images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(number))
            model(images).square().mean().backward()
            steps.step()

    model = network(0)
    average = copy.deepcopy(network(1)) if averaged else None
    steps = build(model)
    train(model, steps, 3)
    saved = save_checkpoint(str(tmp_path), PREFIX, pack(model, average, steps), {})

    other, other_average = network(2), network(3) if averaged else None
    other_steps = build(other)
    found, _ = load_checkpoint(saved)
    unpack(found, other, other_average, other_steps)
    for parameter in other.parameters():  # a step on mixed layouts is slower, and may round in another way
        for name, slot in other_steps.state[parameter].items():
            assert name == "step" or slot.stride() == parameter.stride()
    train(model, steps, 2)
    train(other, other_steps, 2)
    for (name, expected), tensor in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(expected, tensor), name
    weights = trained_weights(found)
    assert weights.keys() == model.state_dict().keys()
    assert not averaged or torch.equal(weights["0.weight"], network(1).state_dict()["0.weight"])
