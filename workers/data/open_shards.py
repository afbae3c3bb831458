"""The shards that a process has open, and what it knows of those that it has closed."""

import os
from collections.abc import Callable
from typing import TypeVar

from workers.data.manifest import ShardInfo
from workers.data.shard_cache import ShardCache
from workers.data.shard_file import ShardFile
from workers.errors import DamagedShardError
from workers.store import Store

Value = TypeVar("Value")

MAX_OPEN = 256  # a map takes a file handle, of which a process usually has 1024
MEMORY_BYTES = 128 * 2**20  # shards that the cache could not take
_Checked = tuple[tuple[int, ...], set[int]]


class OpenShards:
    """Opens shards when they are needed and closes those used longest ago.

    What was verified is not verified again while the file stays the same one (device, inode, size, time of change). It may
    be handed to other processes: each opens shards by itself.
    """

    def __init__(self, store: Store, cache: ShardCache, dataset_digest: str) -> None:
        self._store = store
        self._cache = cache
        self._digest = dataset_digest
        self._pid = os.getpid()
        self._open: dict[str, ShardFile] = {}  # the one used last comes last
        self._checked: dict[str, _Checked] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return OpenShards, (self._store, self._cache, self._digest)

    def read(self, info: ShardInfo, use: Callable[[ShardFile], Value]) -> Value:
        """What ``use`` makes of a shard, whose damaged copy is fetched again.

        Raises:
            DataError: The shard is missing or damaged.
            StoreError: The store cannot be read.
        """
        shard = self._shard(info)
        try:
            return use(shard)
        except DamagedShardError:  # it was whole when it was opened
            if shard.source.kind != "copy":
                raise
        self._open.pop(info.sha256, None)
        self._checked.pop(info.sha256, None)
        self._cache.discard(info, shard.source)
        return use(self._shard(info))

    def _shard(self, info: ShardInfo) -> ShardFile:
        if self._pid != os.getpid():  # a child of a fork: what its parent has open stays the parent's
            self._pid, self._open = os.getpid(), {}
        shard = self._open.pop(info.sha256, None)
        if shard is None:
            self._close_until("copy", self._cache.lease_bytes - info.num_bytes)
            shard = self._opened(info)
            if shard.source.kind == "memory":
                self._close_until("memory", min(MEMORY_BYTES, self._cache.lease_bytes) - info.num_bytes)
            for old in list(self._open)[: len(self._open) + 1 - MAX_OPEN]:
                self._open.pop(old, None)
        self._open[info.sha256] = shard
        return shard

    def _opened(self, info: ShardInfo) -> ShardFile:
        source = self._cache.fetch(self._store, info)
        identity, batches = self._checked.get(info.sha256, ((), set()))
        known = batches if source.identity == identity else None
        try:
            shard = ShardFile(info, source, self._digest, verified=known)
        except DamagedShardError:
            if source.kind != "copy":
                raise
            self._cache.discard(info, source)
            source = self._cache.fetch(self._store, info)
            shard = ShardFile(info, source, self._digest)
        if source.identity is not None:
            self._checked[info.sha256] = (source.identity, shard.verified)
        return shard

    def _close_until(self, kind: str, limit: int) -> None:
        """Close the shards of a kind used longest ago, until those left have this many bytes at most."""
        held = [
            (key, shard.info.num_bytes)
            for key, shard in list(self._open.items())
            if shard.source.kind == kind
        ]
        total = sum(size for _, size in held)
        for key, size in held:
            if total <= limit:
                break
            self._open.pop(key, None)
            total -= size
