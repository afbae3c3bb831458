"""One shard: verified, read row by row."""

import hashlib
import zlib
from bisect import bisect_right
from itertools import accumulate
from typing import Any

import pyarrow as pa

from workers.data.format import Row, rows_of, shard_schema
from workers.data.manifest import ShardInfo
from workers.data.shard_cache import ShardBytes
from workers.errors import DamagedShardError, DataError


class ShardFile:
    """An open shard. All of it is hashed when it is opened, each batch checked when it is first read.

    Attributes:
        info: What the manifest says about it.
        source: Its bytes.
        verified: Numbers of the batches that were checked.
    """

    def __init__(
        self, info: ShardInfo, source: ShardBytes, dataset_digest: str, *, verified: set[int] | None = None
    ) -> None:
        """Open a shard.

        Args:
            info: What the manifest says about it.
            source: Its bytes.
            dataset_digest: Of the data set that it should belong to.
            verified: What this process has checked of the same file before, its hash included; None: nothing.

        Raises:
            DamagedShardError: Its bytes differ from the manifest.
            DataError: It is a shard of another data set.
        """
        self.info = info
        self.source = source
        self.verified = set() if verified is None else verified
        self._starts = [0, *accumulate(batch.rows for batch in info.batches)]
        self._rows: dict[int, tuple[Row, ...]] = {}  # of the batches that were read; views of the map
        self._bytes = memoryview(source.data)
        if verified is None and not source.is_verified:
            _check(self._bytes, info, source.where)
        try:
            self._reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(source.data)))
        except pa.ArrowException as error:
            raise DataError(
                f"{source.where}: not an Arrow file ({error}); ingest the data set again."
            ) from None
        expected = shard_schema(dataset_digest)
        if not self._reader.schema.equals(expected, check_metadata=True):
            raise DataError(
                f"{source.where}: not a shard of this data set: its schema differs; ingest the data set again."
            )

    def row(self, number: int) -> Row:
        """A row by its number in the shard.

        Raises:
            DamagedShardError: The row's batch differs from the manifest.
        """
        index = bisect_right(self._starts, number) - 1
        if index not in self._rows:
            self._rows[index] = rows_of(self._batch(index))
        return self._rows[index][number - self._starts[index]]

    def _batch(self, index: int) -> Any:
        info = self.info.batches[index]
        if index in self.verified:
            return self._reader.get_batch(index)
        if zlib.crc32(self._bytes[info.offset : info.offset + info.length]) != info.crc32:
            raise DamagedShardError(
                f"{self.source.where}: batch {index} differs from its checksum; ingest the data set again."
            )
        batch = self._reader.get_batch(index)
        batch.validate(full=True)
        ids = self.info.ids[self._starts[index] : self._starts[index + 1]]
        if tuple(batch.column("id").to_pylist()) != ids:
            raise DamagedShardError(
                f"{self.source.where}: batch {index} holds other cases than the manifest says."
            )
        self.verified.add(index)
        return batch


def _check(data: memoryview, info: ShardInfo, where: str) -> None:
    if len(data) != info.num_bytes:
        raise DamagedShardError(
            f"{where}: shard of {len(data)} bytes, the manifest says {info.num_bytes}; ingest the data set again."
        )
    if hashlib.sha256(data).hexdigest() != info.sha256:
        raise DamagedShardError(
            f"{where}: shard differs from its sha256 in the manifest; ingest the data set again."
        )
