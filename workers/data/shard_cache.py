"""A node's copies of the shards of ``s3://`` data sets: shared by its processes, within a limit, safe against kills.

All state is files under ``flock``, which the kernel drops when a process dies:

- A copy, ``<sha256[:2]>/<sha256>.arrow``, is renamed into place whole and with the right hash. Whoever reads it holds a
  shared lock for as long as it is mapped; a copy is evicted under an exclusive lock, so never while it is read.
- ``<sha256>.lock``: one process of the node downloads a shard, the others wait and then use its copy.
- ``room.lock``: one process at a time evicts and reserves, so that copies and downloads together stay within the limit.
- ``*.tmp.<pid>.<uuid>``: a download, locked by who writes it; one that can be locked was left by a dead process.

A cache that cannot take a shard (read-only, full, all of it in use) costs time only: the shard is then read into memory.

Specified in docs/data-format.md.
"""

import errno
import fcntl
import hashlib
import logging
import mmap
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from workers.data.manifest import ShardInfo
from workers.errors import DataError, MissingKeyError
from workers.file_lock import alone, remove_unlocked
from workers.store import Store

LIMIT = "SEGSEARCH_CACHE_LIMIT"
ATTEMPTS = 3
PATIENCE_S = 300.0  # how long another process may take to fetch a shard or to make room
GIB = 2**30
_UNITS = {"": 1, "b": 1} | {
    f"{prefix}{unit}b": base**power
    for unit, base in (("", 1000), ("i", 1024))
    for power, prefix in enumerate("kmgt", start=1)
}
_COPY = re.compile(r"[0-9a-f]{64}\.arrow")
_DOWNLOAD = re.compile(r"[0-9a-f]{64}\.arrow\.tmp\.\d+\.[0-9a-f]{32}")
_LOCK = re.compile(r"[0-9a-f]{64}\.lock")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """What a process had from its cache.

    Attributes:
        hits: Shards that were there, or that another process fetched while this one waited.
        misses: Shards that this process fetched.
        bytes_fetched: Of those, damaged tries included.
        evictions: Copies that this process removed to make room.
        damaged: Copies that differed from their hash and were dropped.
        uncached: Shards that were read into memory, since the cache could not take them.
        wait_s: Seconds for others' downloads and for room.
    """

    hits: int = 0
    misses: int = 0
    bytes_fetched: int = 0
    evictions: int = 0
    damaged: int = 0
    uncached: int = 0
    wait_s: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.hits} shards were there, {self.misses} fetched ({self.bytes_fetched / 1e6:.1f} MB), {self.uncached} read "
            f"into memory, {self.damaged} damaged, {self.evictions} evicted, {self.wait_s:.1f} s waited"
        )


@dataclass(frozen=True, slots=True, eq=False)
class ShardBytes:
    """The bytes of a shard; whoever opens them verifies them unless ``is_verified``.

    Attributes:
        data: A map of a file, or memory. A copy stays in the cache at least as long as its map lives.
        where: For messages.
        kind: A ``file`` of a local data set, a ``copy`` in the cache, or ``memory``.
        identity: Device, inode, size and time of change of a file; None for memory.
        is_verified: Whether this process has just hashed them, as they came in.
    """

    data: Any
    where: str
    kind: Literal["file", "copy", "memory"]
    identity: tuple[int, ...] | None
    is_verified: bool = False


def default_cache() -> Path:
    """``SEGSEARCH_CACHE``, else ``~/.cache/segsearch``."""
    given = os.environ.get("SEGSEARCH_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "segsearch"


def cache_limit() -> int | None:
    """Bytes of ``SEGSEARCH_CACHE_LIMIT``; None where it is not set.

    Raises:
        DataError: It is no size.
    """
    given = os.environ.get(LIMIT, "")
    if not given:
        return None
    size = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", given.strip())
    if size is None or size[2].lower() not in _UNITS or float(size[1]) <= 0:
        raise DataError(
            f"{LIMIT}: {given!r} is no size; allowed is a number above 0 with kB, MB, GB, TB, KiB, MiB, GiB or TiB, such as "
            "20GB."
        )
    return int(float(size[1]) * _UNITS[size[2].lower()])


class ShardCache:
    """A folder of copies. Only what it made itself, by name, is counted and removed."""

    def __init__(self, folder: Path, *, limit: int | None = None, patience_s: float = PATIENCE_S) -> None:
        """Keep at most ``limit`` bytes; None: half of what is free on its disk, its own copies counted as free."""
        self.counts = CacheCounts()
        self._folder = folder
        self._limit = limit
        self._patience_s = patience_s
        self._warned: set[str] = set()

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (self._folder, self._limit, self._patience_s)

    @property
    def lease_bytes(self) -> int:
        """How many bytes of copies one process should keep mapped, as none of them can be evicted meanwhile."""
        return GIB if self._limit is None else min(GIB, self._limit // 16)

    def require(self, largest: int, location: str) -> None:
        """Refuse a limit that some shard of a data set exceeds.

        Raises:
            DataError: With both numbers.
        """
        if self._limit is not None and self._limit < largest:
            raise DataError(
                f"{LIMIT}: {self._limit} bytes, but the largest shard of {location} has {largest} bytes; raise it, best to "
                "the size of the data set."
            )

    def fetch(self, store: Store, info: ShardInfo) -> ShardBytes:
        """The bytes of a shard, as a file or a copy where possible.

        Raises:
            DataError: The store lacks the shard, or keeps giving other bytes.
            StoreError: The store cannot be read.
        """
        local = store.local_path(info.key)
        if local is not None:
            return from_file(local)
        try:
            copy = self._find(info) or self._wait_or_fetch(store, info)
            if copy is not None:
                return copy
        except OSError as error:
            self._warn(f"cannot be used ({error.strerror or error})")
        memory = bytearray(info.num_bytes)

        def write(part: bytes, offset: int) -> None:
            memory[offset : offset + len(part)] = part

        self._download(store, info, write)
        self._count(uncached=1)
        return ShardBytes(memory, f"{store.location}/{info.key}", "memory", None, is_verified=True)

    def discard(self, info: ShardInfo, copy: ShardBytes) -> None:
        """Remove a damaged copy, unless another process did so already and fetched it again."""
        path = self._path(info)
        with suppress(OSError):
            if _identity(path.stat()) == copy.identity:
                path.unlink()
        self._count(damaged=1)

    def _path(self, info: ShardInfo) -> Path:
        return self._folder / info.sha256[:2] / f"{info.sha256}.arrow"

    def _find(self, info: ShardInfo) -> ShardBytes | None:
        """The copy that is there, locked against eviction and marked as used now."""
        path = self._path(info)
        try:
            handle = os.open(path, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            status = os.fstat(handle)
            if status.st_nlink == 0:
                return None
            if status.st_size != info.num_bytes:
                path.unlink(missing_ok=True)
                self._count(damaged=1)
                return None
            with suppress(OSError):  # a read-only cache
                os.utime(handle, ns=(time.time_ns(), status.st_mtime_ns))
            self._count(hits=1)
            return _mapped(handle, str(path), "copy")
        except BlockingIOError:  # it is evicted, or was renamed into place at this moment
            return None
        finally:
            os.close(handle)  # the map has a handle of its own to the same open file, and so keeps the lock

    def _wait_or_fetch(self, store: Store, info: ShardInfo) -> ShardBytes | None:
        """Another process's copy, or a new one; None where there is no room for it."""
        path = self._path(info)
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone(path.with_suffix(".lock"), keep=False):
            found = self._find(info)
            if found is not None:
                return found
            for again in (False, True):
                aside = path.with_name(f"{path.name}.tmp.{os.getpid()}.{uuid.uuid4().hex}")
                try:
                    handle = self._reserve(aside, info.num_bytes, more=again)
                    return None if handle is None else self._fill(handle, aside, store, info)
                except OSError as error:
                    if error.errno not in _FULL:
                        raise
                    full = error
        self._warn(f"has no room on its disk ({full.strerror})")
        return None

    def _reserve(self, aside: Path, num_bytes: int, *, more: bool) -> int | None:
        """A locked file of this size within the limit; None where what stands in the way is in use.

        Args:
            more: Evict as many bytes as are needed even within the limit, since the disk is full.
        """
        with self._alone(self._folder / "room.lock", keep=True):
            copies, used = self._survey()
            limit = self._limit
            if limit is None:
                disk = os.statvfs(self._folder)
                limit = (disk.f_bavail * disk.f_frsize + used) // 2
            goal = min(limit, used) - num_bytes if more else limit - num_bytes
            for _, size, path in sorted(copies):
                if used <= goal:
                    break
                if remove_unlocked(path):
                    used -= size
                    self._count(evictions=1)
            if used + num_bytes > limit:
                self._warn(f"has no room for {num_bytes} bytes: {used} of {limit} bytes are in use")
                return None
            handle = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.posix_fallocate(handle, 0, num_bytes)
            except BaseException:
                aside.unlink(missing_ok=True)
                os.close(handle)
                raise
            return handle

    def _fill(self, handle: int, aside: Path, store: Store, info: ShardInfo) -> ShardBytes:
        def write(part: bytes, offset: int) -> None:
            rest = memoryview(part)
            while rest:
                written = os.pwrite(handle, rest, offset)
                rest, offset = rest[written:], offset + written

        path = self._path(info)
        try:
            self._download(
                store, info, write
            )  # not synced: what a crash of the machine tears, opening finds out
            with self._alone(self._folder / "room.lock", keep=True):  # or it is counted under neither name
                aside.replace(path)
            fcntl.flock(handle, fcntl.LOCK_SH)
            return replace(_mapped(handle, str(path), "copy"), is_verified=True)
        finally:
            aside.unlink(missing_ok=True)
            os.close(handle)

    def _download(self, store: Store, info: ShardInfo, write: Callable[[bytes, int], None]) -> None:
        where = f"{store.location}/{info.key}"
        self._count(misses=1)
        for _ in range(ATTEMPTS):
            digest, size = hashlib.sha256(), 0
            try:
                for part in store.parts(info.key):
                    if size + len(part) <= info.num_bytes:
                        digest.update(part)
                        write(part, size)
                    size += len(part)
            except MissingKeyError:
                raise DataError(f"{where}: shard missing; ingest the data set again.") from None
            self._count(bytes_fetched=size)
            if size == info.num_bytes and digest.hexdigest() == info.sha256:
                return
        raise DataError(
            f"{where}: {size} bytes that differ from the manifest's sha256 in {ATTEMPTS} tries (it says {info.num_bytes} "
            "bytes); ingest the data set again."
        )

    def _survey(self) -> tuple[list[tuple[int, int, Path]], int]:
        """Copies as (last use, size, path), and the bytes of copies and downloads. What dead processes left is removed."""
        copies, used = [], 0
        for entry in [
            e for folder in os.scandir(self._folder) if folder.is_dir() for e in os.scandir(folder)
        ]:
            path = Path(entry.path)
            is_copy, is_download = _COPY.fullmatch(entry.name), _DOWNLOAD.fullmatch(entry.name)
            if (is_download or _LOCK.fullmatch(entry.name)) and remove_unlocked(path):
                continue
            if not is_copy and not is_download:
                continue
            with suppress(FileNotFoundError):
                status = path.stat()
                used += status.st_size
                if is_copy:
                    copies.append((status.st_atime_ns, status.st_size, path))
        return copies, used

    @contextmanager
    def _alone(self, path: Path, *, keep: bool) -> Iterator[None]:
        with alone(path, patience_s=self._patience_s, keep=keep) as waited_s:
            self._count(wait_s=waited_s)
            yield

    def _count(self, **more: float) -> None:
        self.counts = replace(
            self.counts, **{name: getattr(self.counts, name) + n for name, n in more.items()}
        )

    def _warn(self, what: str) -> None:
        if not self._warned:
            _log.warning(
                "cache %s %s; shards are read into memory instead, again and again.", self._folder, what
            )
        self._warned.add(what)


def _rebuilt(folder: Path, limit: int | None, patience_s: float) -> ShardCache:
    """A cache in another process, which counts for itself."""
    return ShardCache(folder, limit=limit, patience_s=patience_s)


def from_file(path: Path) -> ShardBytes:
    """A shard of a local data set.

    Raises:
        DataError: It is missing or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise DataError(f"{path}: shard missing; ingest the data set again.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    try:
        return _mapped(handle, str(path), "file")
    finally:
        os.close(handle)


def _mapped(handle: int, where: str, kind: Literal["file", "copy"]) -> ShardBytes:
    status = os.fstat(handle)
    data = mmap.mmap(handle, 0, access=mmap.ACCESS_READ) if status.st_size else b""
    return ShardBytes(data, where, kind, _identity(status))


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
