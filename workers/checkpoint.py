"""Checkpoints: a fresh prefix, tensors and state, and a manifest last. Without its manifest a checkpoint does not exist."""

import hashlib
import json
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from workers.errors import CheckpointError, MissingKeyError
from workers.store import open_store

TENSORS = "tensors.safetensors"
STATE = "state.json"
MANIFEST = "MANIFEST.json"
VERSION = 1

Files = dict[str, dict[str, Any]]


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
    files[MANIFEST] = _manifest({name: _facts(data) for name, data in files.items()})
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
    files = {}
    for name, facts in _described(store.get(MANIFEST), location).items():
        try:
            data = store.get(name)
        except MissingKeyError:
            raise CheckpointError(f"{location}: {name} is missing, which its {MANIFEST} lists.") from None
        if _facts(data) != facts:
            raise CheckpointError(
                f"{location}/{name}: altered, its {len(data)} bytes differ from its {MANIFEST}."
            )
        files[name] = data
    return load(files[TENSORS]), json.loads(files[STATE])


def checkpoint_prefix(trial: int, fence: int, epoch: int) -> str:
    """Where in its storage a leg saves the checkpoint of an epoch."""
    return f"{_trial_prefix(trial)}leg-{fence:06d}/epoch-{epoch:04d}"


def checkpoints_of(storage: str, trial: int) -> list[str]:
    """Locations of all checkpoints of a trial, whole or not."""
    keys = open_store(storage).list(_trial_prefix(trial))
    return [f"{storage.rstrip('/')}/{prefix}" for prefix in sorted({key.rpartition("/")[0] for key in keys})]


def key_of(location: str) -> str:
    """What names a checkpoint within its search, wherever the storage is seen from."""
    return "/".join(location.rsplit("/", 4)[1:])


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
    for parameter, state in optimiser.state.items():
        for key, tensor in state.items():
            if (
                tensor.shape == parameter.shape
            ):  # in the layout of the parameter again, as before the checkpoint
                state[key] = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)


def trained_weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that are evaluated and exported: the average where there is one."""
    return _part(tensors, "average/") or _part(tensors, "model/")


def _trial_prefix(trial: int) -> str:
    return f"checkpoints/trial-{trial:05d}/"


def _facts(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _manifest(described: Files) -> bytes:
    return json.dumps({"version": VERSION, "files": described}, sort_keys=True).encode()


def _described(data: bytes, location: str) -> Files:
    """The files that a manifest lists; whatever ``_manifest`` would not write is refused."""
    try:
        described: Files = json.loads(data)["files"]
        whole = described.keys() == {TENSORS, STATE} and _manifest(described) == data
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise CheckpointError(f"{location}/{MANIFEST}: altered, or of another version than {VERSION}.")
    return described


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
