"""Locks between processes of a machine that the kernel drops when a process dies (``flock``)."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FIRST_POLL_S, LAST_POLL_S = 0.001, 0.03  # doubled in between


@contextmanager
def alone(path: Path, *, patience_s: float, keep: bool) -> Iterator[float]:
    """Hold a lock file; gives the seconds that it took.

    Args:
        path: Made when it is not there.
        patience_s: How long to wait for another process.
        keep: False removes the file again.

    Raises:
        TimeoutError: Another process has held it for too long.
        OSError: It cannot be made, or its file system knows no locks.
    """
    begin, pause_s = time.monotonic(), FIRST_POLL_S
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(handle, path):  # else its last holder has removed it
                break
        except BlockingIOError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        if time.monotonic() - begin > patience_s:
            raise TimeoutError(errno.ETIMEDOUT, f"another process has held {path} for {patience_s:g} s")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LAST_POLL_S)
    try:
        yield time.monotonic() - begin
    finally:
        if not keep:
            path.unlink(missing_ok=True)
        fcntl.flock(handle, fcntl.LOCK_UN)  # a child that was forked meanwhile has the handle, too
        os.close(handle)


def remove_unlocked(path: Path) -> bool:
    """Remove a file that nobody holds a lock on. False: somebody does, or it is gone, or it cannot be removed."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not is_at(handle, path):
            return False
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def is_at(handle: int, path: Path) -> bool:
    """Whether an open file still has its name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False
