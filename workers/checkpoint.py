"""Checkpoints: a fresh prefix, tensors and state, and a manifest last. Without its manifest a checkpoint does not exist."""

import hashlib
import json
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from workers.errors import CheckpointError
from workers.store import open_store

TENSORS = "tensors.safetensors"
STATE = "state.json"
MANIFEST = "MANIFEST.json"


def save_checkpoint(storage: str, prefix: str, tensors: dict[str, Tensor], state: dict[str, Any]) -> str:
    """Write a checkpoint under a prefix that was never used before.

    Returns:
        Its location, which ``load_checkpoint`` takes.

    Raises:
        CheckpointError: The prefix already holds a file.
    """
    store = open_store(storage)
    files = {
        TENSORS: save({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}),
        STATE: json.dumps(state, sort_keys=True).encode(),
    }
    described = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
    }
    files[MANIFEST] = json.dumps({"version": 1, "files": described}, sort_keys=True).encode()
    for name, data in files.items():
        if not store.put(f"{prefix}/{name}", data, if_absent=True):
            raise CheckpointError(
                f"{storage}/{prefix}/{name} exists already; a checkpoint never overwrites another."
            )
    return f"{storage.rstrip('/')}/{prefix}"


def load_checkpoint(location: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and state of a committed checkpoint, each file checked against its hash.

    Raises:
        CheckpointError: It was never committed, or a file is missing or altered.
    """
    store = open_store(location)
    if not store.exists(MANIFEST):
        raise CheckpointError(f"{location}: no {MANIFEST}, so this checkpoint was never committed.")
    described = json.loads(store.get(MANIFEST))["files"]
    files = {}
    for name, facts in described.items():
        data = store.get(name)
        if len(data) != facts["bytes"] or hashlib.sha256(data).hexdigest() != facts["sha256"]:
            raise CheckpointError(
                f"{location}/{name}: {len(data)} bytes that differ from the manifest's {facts['bytes']}."
            )
        files[name] = data
    return load(files[TENSORS]), json.loads(files[STATE])


def delete_checkpoint(location: str) -> None:
    """Remove a checkpoint, its manifest first, so that what is left of a killed removal is no checkpoint."""
    store = open_store(location)
    for name in (MANIFEST, TENSORS, STATE):
        if store.exists(name):
            store.delete(name)


def pack(model: nn.Module, average: nn.Module | None, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of a training state, by name."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    if average is not None:
        tensors |= {f"average/{name}": tensor for name, tensor in average.state_dict().items()}
    for index, slots in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{name}": torch.as_tensor(value) for name, value in slots.items()}
    return {name: tensor.clone() for name, tensor in tensors.items()}  # safetensors refuses shared memory


def unpack(
    tensors: dict[str, Tensor], model: nn.Module, average: nn.Module | None, optimiser: torch.optim.Optimizer
) -> None:
    """Put the tensors of ``pack`` back."""
    model.load_state_dict(_part(tensors, "model/"))
    if average is not None:
        average.load_state_dict(_part(tensors, "average/"))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimiser/").items():
        index, key = name.split("/", 1)
        slots.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": slots, "param_groups": optimiser.state_dict()["param_groups"]})


def trained_weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that are evaluated and exported: the average where there is one."""
    return _part(tensors, "average/") or _part(tensors, "model/")


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
