"""Memory that the tasks of an ingest share: what they decode at once is bounded by bytes, not by the number of threads."""

import contextlib
import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition
from typing import Protocol, runtime_checkable

from workers.errors import DataError
from workers.image_file import declared_pixel_bytes, is_image
from workers.source import SampleFiles, Source
from workers.source_pairs import shown
from workers.volume_file import declared_voxel_bytes, is_volume

SHARE = 0.75  # of what is free when an ingest begins
AT_ONCE = 4  # times the bytes of its image that a case holds at most while it is read, checked and encoded: docs/benchmarks.md
_NO_LIMIT = 2**62
_ZSTD = "not enough memory"  # in an OSError of pyarrow without a number


@runtime_checkable
class Heavy(Protocol):
    """A task that holds much memory."""

    def held_bytes(self) -> int:
        """How much it holds at most, about."""


class Room:
    """Bytes that may be held at once. What is larger than all of them waits until it is alone.

    Args:
        limit: Bytes; None takes ``SHARE`` of what this process may still use.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._held = 0
        self._changed = Condition()

    @contextmanager
    def hold(self, task: object) -> Iterator[None]:
        """Room for a task; it waits until there is some."""
        num_bytes = 0
        with contextlib.suppress(DataError, OSError):  # what cannot be read is named when it is done
            num_bytes = task.held_bytes() if isinstance(task, Heavy) else 0
        with self._changed:
            if self._limit is None:
                self._limit = int(SHARE * free_bytes())
            limit = self._limit
            self._changed.wait_for(lambda: not self._held or self._held + num_bytes <= limit)
            self._held += num_bytes
        try:
            yield
        finally:
            with self._changed:
                self._held -= num_bytes
                self._changed.notify_all()


def free_bytes() -> int:
    """Memory that this process may still use: of the machine, of its control group, of its own limit."""
    return max(0, min(_free_of_machine(), _free_of_group(), _free_of_limit()))


def decoded_bytes(reader: Source, sample: SampleFiles) -> int:
    """Bytes of a case's image as its header declares them; of files without such a header their size."""
    with contextlib.suppress(DataError, OSError):  # what is damaged is named when it is read
        if is_volume(sample.image):
            return declared_voxel_bytes(sample.image)
        if is_image(sample.image):
            return declared_pixel_bytes(sample.image)
        return reader.num_bytes(sample)
    return 0


@contextmanager
def enough_memory(reader: Source, sample: SampleFiles) -> Iterator[None]:
    """What is done in this context for a case needs more memory than there is: a ``DataError`` names it and its size."""
    try:
        yield
    except (MemoryError, OSError) as error:
        is_of_memory = isinstance(error, MemoryError) or error.errno == errno.ENOMEM
        if not is_of_memory and _ZSTD not in str(error):
            raise
        size = decoded_bytes(reader, sample)
        what = f"{shown(sample.image)}: no memory for a case of {size:,} bytes"
        raise DataError(f"{what}; give fewer --jobs, or cut it first.") from None


def _free_of_machine() -> int:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    return _NO_LIMIT


def _free_of_group() -> int:
    with contextlib.suppress(OSError, ValueError):  # no control groups of version 2, or "max"
        folder = Path("/sys/fs/cgroup")
        return int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text())
    return _NO_LIMIT


def _free_of_limit() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return _NO_LIMIT
    with contextlib.suppress(OSError, ValueError):
        return limit - int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return limit
