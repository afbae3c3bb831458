"""Prepared cases of a split, turned, cropped and resampled once a node and then mapped from files by all of its trials.

So a trial of any size of data set holds little memory of its own: a sample touches only the pages that its window covers,
loader processes and other trials share them, and a second trial prepares nothing. Intensities stay as they are stored (a
pixel of a photograph takes one byte), since ``Scaling`` makes network input of a window at no cost.

A file is a safetensors file, ``<cache>/prepared/<data set and geometry>/<hash of the id>.safetensors``: ``pixels``,
``labels``, ``truth`` where it differs, ``places`` of classes in volumes; its metadata says the rest, and a CRC-32 over the
file, which each process checks when it first maps it. A file that is damaged, or of an older layout, is made again.
"""

import hashlib
import json
import os
import re
import uuid
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
import numpy.typing as npt
import scipy
import torch
from safetensors.numpy import save

from workers.data.dataset import Dataset
from workers.data.manifest import canonical
from workers.data.shard_cache import default_cache
from workers.prepared_folder import ASIDE, PreparedGroup
from workers.preprocessing import (
    Fitted,
    LabelArray,
    Places,
    Prepared,
    Undo,
    places_of_classes,
    prepare,
    scaling_of,
)

VERSION = 1  # of the file, and of what ``prepare`` does to geometry
MAX_OPEN = 4096  # files that a process keeps mapped; Linux allows 65,530 maps
_CRC, _NO_CRC = re.compile(rb'"crc32":"([0-9a-f]{8})"'), b'"crc32":"00000000"'
_TYPES = {
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "I64": np.int64,
    "F32": np.float32,
}


class PreparedCases(Sequence[Prepared]):
    """The labelled cases of a split, sorted by id, prepared when they are asked for. It may be handed to other processes.

    Args:
        dataset: Where cases come from.
        split: Which of them.
        fitted: How they are prepared.
        cache: Folder of the node's files; None takes ``SEGSEARCH_CACHE`` or ``~/.cache/segsearch``.
    """

    def __init__(self, dataset: Dataset, split: str, fitted: Fitted, cache: Path | None = None) -> None:
        self._dataset = dataset
        self._fitted = fitted
        self._group = PreparedGroup(cache or default_cache(), _key(dataset, fitted))
        self._ids = dataset.ids(split)
        if dataset.manifest.splits[split].unlabelled:
            self._ids = tuple(id for id in self._ids if dataset.case(id, copy=False).labels is not None)
        self._mapped: OrderedDict[int, Prepared] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, number: int) -> Prepared: ...
    @overload
    def __getitem__(self, number: slice) -> list[Prepared]: ...
    def __getitem__(self, number: int | slice) -> Prepared | list[Prepared]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        id = self._ids[number]  # raises IndexError, which ends an iteration
        held = self._mapped.get(number)
        if held is not None:
            self._mapped.move_to_end(number)
            return held
        case = self._read(id)
        if not case.pixels.flags.writeable:  # mapped: a file of its own, or where that cannot be, the shard
            self._mapped[number] = case
            if len(self._mapped) > MAX_OPEN:
                self._mapped.popitem(last=False)
        return case

    def _read(self, id: str) -> Prepared:
        path = self._group.path / f"{hashlib.sha256(id.encode()).hexdigest()[:32]}.safetensors"
        try:
            self._group.hold()
            case = _load(path, id, self._fitted)
        except OSError as error:
            case = None
            _warn_once(path.parent, error)
        if case is not None:
            return case
        prepared = prepare(self._fitted, self._dataset.case(id, copy=False))
        try:
            saved = _save(path, prepared, self._group, ignore_index=self._dataset.manifest.ignore_index)
        except OSError as error:
            _warn_once(path.parent, error)
            return prepared
        return (_load(path, id, self._fitted) if saved else None) or prepared

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mapped": OrderedDict()}


@dataclass(frozen=True, slots=True)
class _Header:
    fields: dict[str, Any]
    tensors: dict[str, Any]
    start: int


def _key(dataset: Dataset, fitted: Fitted) -> str:
    """Names what the files depend on: content, geometry, and the code that resamples. Intensity choices share files."""
    choices = fitted.choices
    resampled = choices.spacing == "median" and fitted.spacing is not None
    facts = {
        "version": VERSION,
        "content": dataset.digest,
        "orientation": choices.orientation,
        "crop": choices.crop,
        "spacing": list(fitted.spacing or ()) if resampled else None,
        "scipy": scipy.__version__ if resampled else None,
    }
    return hashlib.sha256(canonical(facts)).hexdigest()[:32]


def _save(path: Path, case: Prepared, group: PreparedGroup, *, ignore_index: int) -> bool:
    """Write a file aside, then rename it; its CRC tells later whether all of it reached the disk. False: no room."""
    assert case.labels is not None and case.truth is not None
    if group.refuses(case.pixels.nbytes + case.labels.nbytes):
        return False
    volume = case.labels.ndim == 3
    tensors: dict[str, npt.NDArray[Any]] = {
        "pixels": _slices_first(case.pixels) if volume else case.pixels,
        "labels": _slices_first(case.labels) if volume else case.labels,
    }
    if not np.array_equal(case.truth, case.labels):
        tensors["truth"] = case.truth
    places = places_of_classes(case.labels, ignore_index=ignore_index) if volume else {}
    if places:
        tensors["places"] = np.concatenate(list(places.values())).astype(np.int64)
    fields = {
        "id": case.id,
        "volume": volume,
        "spacing": case.spacing,
        "stored_spacing": case.stored_spacing,
        "places": [[index, len(found)] for index, found in places.items()],
        "undo": {
            "stored_shape": case.undo.stored_shape,
            "orientation": None if case.undo.orientation is None else case.undo.orientation.tolist(),
            "turned_shape": case.undo.turned_shape,
            "box": [(part.start, part.stop) for part in case.undo.box],
        },
    }
    ordered = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    data = save(ordered, metadata={"case": json.dumps(fields), "crc32": "00000000"})
    start = 8 + int.from_bytes(data[:8], "little")
    head = data[:start].replace(_NO_CRC, f'"crc32":"{zlib.crc32(data):08x}"'.encode())
    if not group.admits(len(data)):
        return False
    aside = path.with_name(f"{path.name}{ASIDE}{os.getpid()}.{uuid.uuid4().hex}")
    try:
        with aside.open("wb") as file:
            file.write(head)
            file.write(memoryview(data)[start:])
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return True


def _load(path: Path, id: str, fitted: Fitted) -> Prepared | None:
    """The case of a file; None where there is no file or a damaged one."""
    try:
        held = _mapped(path)
        header = _header(held)
        arrays = {name: _array(held, header, name) for name in header.tensors}
        fields = header.fields
        if fields["id"] != id:
            return None
        pixels, labels = arrays["pixels"], cast(LabelArray, arrays["labels"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if fields["volume"]:
        pixels, labels = np.moveaxis(pixels, 0, -1), np.moveaxis(labels, 0, -1)
    undo = fields["undo"]
    orientation = None if undo["orientation"] is None else np.array(undo["orientation"])
    return Prepared(
        id,
        pixels,
        scaling_of(pixels, fitted),
        labels,
        Undo(
            tuple(undo["stored_shape"]),
            orientation,
            tuple(undo["turned_shape"]),
            tuple(slice(*part) for part in undo["box"]),
            labels.shape,
        ),
        None if fields["spacing"] is None else tuple(fields["spacing"]),
        cast(LabelArray, arrays.get("truth", labels)),
        None if fields["stored_spacing"] is None else tuple(fields["stored_spacing"]),
        _places(arrays, fields) if fields["volume"] else None,
    )


def _mapped(path: Path) -> npt.NDArray[np.uint8]:
    """The bytes of a file, read only. Python's own map would keep a file handle, of which a process usually has 1024.

    Raises:
        OSError: It is not there or cannot be mapped.
    """
    size = path.stat().st_size
    try:
        tensor = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    except RuntimeError as error:  # gone or another one since its size was asked for, or no more maps
        raise OSError(f"{path}: cannot be mapped") from error
    held = cast(npt.NDArray[np.uint8], tensor.numpy())
    held.setflags(write=False)
    return held


def _header(held: npt.NDArray[np.uint8]) -> _Header:
    """What a file says of itself, once it has its checksum.

    Raises:
        ValueError: Damaged.
    """
    start = 8 + int.from_bytes(held[:8].tobytes(), "little")
    if not 8 < start <= len(held):
        raise ValueError("no header")
    head = held[:start].tobytes()
    written = _CRC.search(head)
    if written is None:
        raise ValueError("no checksum")
    crc = zlib.crc32(held[start:].data, zlib.crc32(_CRC.sub(_NO_CRC, head, count=1)))
    if f"{crc:08x}".encode() != written[1]:
        raise ValueError("another checksum")
    tensors = json.loads(head[8:])
    facts = tensors.pop("__metadata__")
    return _Header(json.loads(facts["case"]), tensors, start)


def _array(held: npt.NDArray[np.uint8], header: _Header, name: str) -> npt.NDArray[Any]:
    facts = header.tensors[name]
    first, last = facts["data_offsets"]
    dtype = np.dtype(_TYPES[facts["dtype"]])
    flat = np.frombuffer(held, dtype, (last - first) // dtype.itemsize, header.start + first)
    return flat.reshape(facts["shape"])


def _slices_first(volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Slices along the last axis contiguous in memory, so that one slice is read from few pages."""
    return np.ascontiguousarray(np.moveaxis(volume, -1, 0))


def _places(arrays: dict[str, npt.NDArray[Any]], fields: dict[str, Any]) -> Places:
    counts = fields["places"]
    if not counts:
        return {}
    parts = np.split(arrays["places"], np.cumsum([count for _, count in counts])[:-1])
    return {index: part for (index, _), part in zip(counts, parts, strict=True)}


_warned: set[Path] = set()


def _warn_once(folder: Path, error: OSError) -> None:
    if folder not in _warned:
        _warned.add(folder)
        warnings.warn(
            f"{folder}: prepared cases cannot be kept ({error.strerror}), so each is prepared whenever it is needed; "
            "free space or set SEGSEARCH_CACHE to another folder.",
            RuntimeWarning,
            stacklevel=2,
        )
