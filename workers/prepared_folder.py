"""The folder of a node's prepared cases: one group of files for each data set and geometry, removed whole when room is needed.

A group is in use as long as a process has a shared ``flock`` on its file ``in-use``, which the kernel drops when the process
dies. Within a limit, ``SEGSEARCH_CACHE_LIMIT`` or else half of what is free on the disk, files are added; beyond it the group
that was not used for longest is removed, and where all are in use nothing more is added: what is there is kept, since in a
random order any file is as useful as another. So that processes together keep the limit, each reserves what it may write next:
a locked file of that length, which all count.
"""

import fcntl
import os
import shutil
import time
import uuid
import weakref
from contextlib import suppress
from pathlib import Path

from workers.data.shard_cache import cache_limit
from workers.file_lock import alone, is_at, remove_unlocked

IN_USE = "in-use"
GONE = ".gone."
RESERVE = "reserve."
ASIDE = ".tmp."  # in the name of a file that is being written
SHARE = 64  # of the limit that a process reserves at once
PATIENCE_S = 30.0  # for another process's survey
STALE_S = 3600.0  # a file that is still written after this time was left by a process that died
SURVEY_S = 5.0  # a full folder is looked at again after this time
ATTEMPTS = 10


class PreparedGroup:
    """The files of one data set and geometry.

    Args:
        cache: Folder of the node's cache.
        key: Names the group.
    """

    def __init__(self, cache: Path, key: str) -> None:
        self.path = cache / "prepared" / key
        self._holder = 0  # process that holds it
        self._room = 0
        self._surveyed = -SURVEY_S
        self._is_full = False  # at the last survey
        self._reserved: int | None = None  # a locked file, as long as what this process may still write
        self._reserver = 0

    def __reduce__(self) -> tuple[object, ...]:
        return PreparedGroup, (self.path.parent.parent, self.path.name)

    def hold(self) -> None:
        """Make the group's folder and keep it from being removed as long as this object lives.

        Raises:
            OSError: It cannot be written.
        """
        if self._holder == os.getpid():
            return
        for _ in range(ATTEMPTS):
            self.path.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # removed at this moment
                handle = os.open(self.path / IN_USE, os.O_RDWR | os.O_CREAT, 0o644)
                try:
                    fcntl.flock(handle, fcntl.LOCK_SH)
                    is_held = is_at(handle, self.path / IN_USE)
                    if is_held:
                        os.utime(handle)
                except BaseException:  # such as a file system without locks
                    os.close(handle)
                    raise
                if is_held:
                    self._holder = os.getpid()
                    weakref.finalize(self, os.close, handle)
                    return
                os.close(handle)
        raise FileNotFoundError(0, "others keep removing it", str(self.path))

    def refuses(self, num_bytes: int) -> bool:
        """Whether the last survey, a moment ago, leaves no room for a file of at least this size: it need not be made."""
        is_new = time.monotonic() - self._surveyed <= SURVEY_S
        return self._reserver == os.getpid() and self._is_full and is_new and num_bytes > self._room

    def admits(self, num_bytes: int) -> bool:
        """Whether a file of this size may be added; room is made where groups are not in use.

        Raises:
            DataError: ``SEGSEARCH_CACHE_LIMIT`` is no size.
            OSError: Nothing can be written there.
        """
        if self._reserver != os.getpid():
            self._reserved, self._room, self._reserver = None, 0, os.getpid()
        if num_bytes > self._room and not self.refuses(num_bytes):
            with alone(self.path.parent / "room.lock", patience_s=PATIENCE_S, keep=True):
                self._reserve(num_bytes)
            self._surveyed = time.monotonic()
            self._is_full = num_bytes > self._room
        if self._reserved is not None:
            os.ftruncate(self._reserved, self._room)  # what was admitted before is written by now
        if num_bytes > self._room:
            return False
        self._room -= num_bytes
        return True

    def _reserve(self, num_bytes: int) -> None:
        """Keep room for this file and some more, so that not every file asks for a survey; others count it as used."""
        if self._reserved is None:
            path = self.path / f"{RESERVE}{uuid.uuid4().hex}"
            self._reserved = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            weakref.finalize(self, _release, self._reserved, path, os.getpid())
            fcntl.flock(self._reserved, fcntl.LOCK_EX)
        os.ftruncate(self._reserved, 0)
        limit, room = self._survey(num_bytes)
        self._room = max(0, min(room, max(num_bytes, limit // SHARE)))
        os.ftruncate(self._reserved, self._room)

    def _survey(self, num_bytes: int) -> tuple[int, int]:
        """The limit, and bytes that may be added after idle groups were removed, the longest unused first."""
        top = self.path.parent
        groups, used = [], 0
        for folder in [entry for entry in os.scandir(top) if entry.is_dir()]:
            if GONE in folder.name:  # whoever removed it died
                shutil.rmtree(folder.path, ignore_errors=True)
                continue
            size, last = _size(folder.path)
            used += size
            groups.append((last, size, Path(folder.path)))
        free = shutil.disk_usage(top).free
        limit = cache_limit()
        if limit is None:
            limit = (free + used) // 2
        for _, size, path in sorted(groups):
            if used + num_bytes <= limit and num_bytes <= free:
                break
            if path != self.path and _remove(path):
                used -= size
                free += size
        return limit, min(limit - used, free)


def _release(handle: int, path: Path, process: int) -> None:
    if os.getpid() == process:
        path.unlink(missing_ok=True)
    os.close(handle)


def _remove(path: Path) -> bool:
    """Remove a group that no process holds."""
    try:
        handle = os.open(path / IN_USE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not is_at(handle, path / IN_USE):
            return False
        gone = path.with_name(f"{path.name}{GONE}{uuid.uuid4().hex}")
        path.rename(gone)
    except OSError:
        return False
    finally:
        os.close(handle)
    shutil.rmtree(gone, ignore_errors=True)
    return True


def _size(path: str) -> tuple[int, float]:
    """Bytes of a group, and when it was last used."""
    size, last = 0, 0.0
    with suppress(OSError):
        for entry in os.scandir(path):
            with suppress(OSError):
                if entry.name.startswith(RESERVE) and remove_unlocked(Path(entry.path)):
                    continue  # of a process that died
                status = entry.stat()
                if ASIDE in entry.name and time.time() - status.st_mtime > STALE_S:
                    Path(entry.path).unlink()
                    continue
                size += status.st_size
                if entry.name == IN_USE:
                    last = status.st_mtime
    return size, last
