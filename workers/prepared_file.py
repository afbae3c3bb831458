"""The file of one prepared case: a safetensors file whose metadata hold ``fields``, and CRC-32s over every byte.

Arrays are whole or in bricks. The header and whole arrays have one CRC-32, which is checked when the file is opened; bricks
have one each, which are checked when they are first touched. A file is written piece by piece, without a copy of what it holds.
"""

import json
import math
import os
import re
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from workers.bricks import Array, Bricks, Shape, brick_parts, grid_of
from workers.prepared_folder import ASIDE

_CRC, _NO_CRC = re.compile(rb'"crc32":"([0-9a-f]{8})"'), b'"crc32":"00000000"'
_SUMS = ".crc32"  # after the name of an array in bricks: their checksums
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
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.items()}


@dataclass(frozen=True, slots=True)
class Content:
    """What a file is to hold.

    Attributes:
        fields: JSON values.
        arrays: Whole arrays by name.
        bricks: Arrays that go in bricks, each with the size of its bricks.
    """

    fields: dict[str, Any]
    arrays: Mapping[str, Array]
    bricks: Mapping[str, tuple[Array, Shape]]

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        head, specs = self._head()
        return len(head) + sum(_size(*spec) for spec in specs.values())

    def save(self, path: Path) -> None:
        """Write it aside, then rename it; the CRCs tell later whether all of it reached the disk.

        Raises:
            OSError: It cannot be written.
        """
        head, specs = self._head()
        sums = {
            f"{name}{_SUMS}": np.zeros(grid_of(array.shape, brick), np.uint32)
            for name, (array, brick) in self.bricks.items()
        }
        given = {**self.arrays, **sums}
        whole = {name: np.ascontiguousarray(given[name]) for name in specs if name in given}
        aside = path.with_name(f"{path.name}{ASIDE}{os.getpid()}.{uuid.uuid4().hex}")
        try:
            with aside.open("wb") as file:
                file.seek(len(head) + sum(array.nbytes for array in whole.values()))
                for name, (array, brick) in self.bricks.items():
                    numbers = np.ndindex(grid_of(array.shape, brick))
                    for number, part in zip(numbers, brick_parts(array, brick), strict=True):
                        whole[f"{name}{_SUMS}"][number] = zlib.crc32(part.data)
                        file.write(part.data)
                crc = zlib.crc32(head)
                for array in whole.values():
                    crc = zlib.crc32(array.reshape(-1).data, crc)
                file.seek(0)
                file.write(head.replace(_NO_CRC, f'"crc32":"{crc:08x}"'.encode()))
                for array in whole.values():
                    file.write(array.reshape(-1).data)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    def _head(self) -> tuple[bytes, dict[str, tuple[Any, Shape]]]:
        """The header, still without its CRC, and type and shape of each tensor in the order of the file."""
        whole = {name: (array.dtype, array.shape) for name, array in self.arrays.items()}
        specs = dict(sorted(whole.items(), key=lambda item: (-item[1][0].itemsize, item[0])))
        for name, (array, brick) in self.bricks.items():
            specs[f"{name}{_SUMS}"] = np.dtype(np.uint32), grid_of(array.shape, brick)
        for name, (array, brick) in self.bricks.items():
            specs[name] = array.dtype, (*grid_of(array.shape, brick), *brick)
        shapes = {name: array.shape for name, (array, _) in self.bricks.items()}
        metadata = {"case": json.dumps(self.fields), "bricks": json.dumps(shapes), "crc32": "00000000"}
        tensors: dict[str, Any] = {"__metadata__": metadata}
        end = 0
        for name, spec in specs.items():
            start, end = end, end + _size(*spec)
            tensors[name] = {"dtype": _NAMES[spec[0]], "shape": spec[1], "data_offsets": (start, end)}
        text = json.dumps(tensors, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text, specs


def load_content(
    path: Path, mend: Callable[[str], Array | Bricks]
) -> tuple[dict[str, Any], dict[str, Array | Bricks]]:
    """Fields and arrays of a file, mapped and read only.

    Args:
        path: Of the file.
        mend: Makes an array anew, by its name, when one of its bricks turns out damaged.

    Raises:
        OSError: It is not there or cannot be mapped.
        ValueError, LookupError, TypeError, AttributeError: Damaged.
    """
    held = _mapped(path)
    start = 8 + int.from_bytes(held[:8].tobytes(), "little")
    if not 8 < start <= len(held):
        raise ValueError("no header")
    head = held[:start].tobytes()
    written = _CRC.search(head)
    if written is None:
        raise ValueError("no checksum")
    tensors = json.loads(head[8:])
    facts = tensors.pop("__metadata__")
    shapes = json.loads(facts["bricks"])
    end = start + max(
        (spec["data_offsets"][1] for name, spec in tensors.items() if name not in shapes), default=0
    )
    crc = zlib.crc32(held[start:end].data, zlib.crc32(_CRC.sub(_NO_CRC, head, count=1)))
    if f"{crc:08x}".encode() != written[1]:
        raise ValueError("another checksum")
    if start + max(spec["data_offsets"][1] for spec in tensors.values()) != len(held):
        raise ValueError("another length")
    arrays = {name: _array(held, spec, start) for name, spec in tensors.items()}
    found: dict[str, Array | Bricks] = {
        name: array for name, array in arrays.items() if name.removesuffix(_SUMS) not in shapes
    }
    for name, shape in shapes.items():
        sums = arrays[f"{name}{_SUMS}"]
        # mypy has no type for the default of a lambda
        found[name] = Bricks(arrays[name], tuple(shape), sums, lambda name=name: mend(name))  # type: ignore[misc]
    return json.loads(facts["case"]), found


def _size(dtype: Any, shape: Shape) -> int:
    return int(dtype.itemsize) * math.prod(shape)


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


def _array(held: npt.NDArray[np.uint8], spec: dict[str, Any], start: int) -> Array:
    first, last = spec["data_offsets"]
    dtype = np.dtype(_TYPES[spec["dtype"]])
    flat = np.frombuffer(held, dtype, (last - first) // dtype.itemsize, start + first)
    return flat.reshape(spec["shape"])
