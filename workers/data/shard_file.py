"""One shard on a local disk: mapped, verified, read row by row."""

import hashlib
import os
import zlib
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa

from workers.data.format import Row, row_at, shard_schema
from workers.data.manifest import ShardInfo
from workers.errors import DataError


class ShardFile:
    """A memory-mapped shard. The whole file is hashed when it is opened, each batch checked when it is first read."""

    def __init__(self, info: ShardInfo, path: Path, dataset_digest: str) -> None:
        self.info = info
        self._path = path
        self._pid = os.getpid()
        self._starts = [0, *accumulate(batch.rows for batch in info.batches)]
        self._batches: dict[int, Any] = {}
        self._map = _mapped(path, info)
        try:
            self._reader = pa.ipc.open_file(self._map)
        except pa.ArrowException as error:
            raise DataError(f"{path}: not an Arrow file ({error}); ingest the data set again.") from None
        expected = shard_schema(dataset_digest)
        if not self._reader.schema.equals(expected, check_metadata=True):
            raise DataError(
                f"{path}: not a shard of this data set: its schema differs; ingest the data set again."
            )

    def is_mine(self) -> bool:
        """Whether this process opened it; a child of a fork opens its own."""
        return self._pid == os.getpid()

    def row(self, number: int) -> Row:
        """A row by its number in the shard.

        Raises:
            DataError: The row's batch differs from the manifest.
        """
        batch, index = self._place(number)
        return row_at(batch, index)

    def shape(self, number: int) -> tuple[int, ...]:
        """Shape of a row's image; its payload is not copied or decoded.

        Raises:
            DataError: As ``row``.
        """
        batch, index = self._place(number)
        return tuple(batch.column("shape")[index].as_py())

    def _place(self, number: int) -> tuple[Any, int]:
        """The verified batch of a row, and where in it the row is."""
        index = bisect_right(self._starts, number) - 1
        return self._batch(index), number - self._starts[index]

    def _batch(self, index: int) -> Any:
        if index not in self._batches:
            self._batches[index] = self._verified_batch(index)
        return self._batches[index]

    def _verified_batch(self, index: int) -> Any:
        info = self.info.batches[index]
        if zlib.crc32(self._map[info.offset : info.offset + info.length]) != info.crc32:
            raise DataError(
                f"{self._path}: batch {index} differs from its checksum; ingest the data set again."
            )
        batch = self._reader.get_batch(index)
        batch.validate(full=True)
        ids = self.info.ids[self._starts[index] : self._starts[index + 1]]
        if tuple(batch.column("id").to_pylist()) != ids:
            raise DataError(f"{self._path}: batch {index} holds other cases than the manifest says.")
        return batch


def _mapped(path: Path, info: ShardInfo) -> Any:
    try:
        buffer = pa.memory_map(str(path)).read_buffer()
    except FileNotFoundError:
        raise DataError(f"{path}: shard missing; ingest the data set again.") from None
    if buffer.size != info.num_bytes:
        raise DataError(
            f"{path}: shard of {buffer.size} bytes, the manifest says {info.num_bytes}; ingest the data set again."
        )
    if hashlib.sha256(buffer).hexdigest() != info.sha256:
        raise DataError(f"{path}: shard differs from its sha256 in the manifest; ingest the data set again.")
    return buffer
