"""Rows that the first pass of an ingest has encoded, kept in files until the second pass writes them.

They lie under ``SEGSEARCH_CACHE`` in a folder of one run, which holds a lock that the kernel drops when the run dies; the
next run removes such a folder. Where they cannot be written, the second pass reads the source again.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from workers.data.format import Row, rows_of, shard_schema, to_batch

_LOCK = "lock"
_NO_DIGEST = "not known yet"


@contextmanager
def scratch_folder(cache: Path) -> Iterator[Path]:
    """A folder for the rows of one ingest, removed afterwards; folders of runs that were killed are removed first."""
    folder, lock = _made(cache / "ingest")
    try:
        yield folder
    finally:
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def save_rows(path: str, rows: Sequence[Row]) -> int | None:
    """Keep rows; the CRC-32 of the file, or None where there is no room or no folder for it."""
    schema = shard_schema(_NO_DIGEST)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        if rows:
            writer.write_batch(to_batch(rows, schema))
    data = memoryview(sink.getvalue())
    try:
        with Path(path).open("wb") as file:
            file.write(data)
    except OSError:
        with contextlib.suppress(OSError):
            Path(path).unlink()
        return None
    return zlib.crc32(data)


def load_rows(path: str, crc32: int) -> list[Row] | None:
    """Rows that were kept; None where the file is not what was saved, or is on another machine."""
    try:
        data = Path(path).read_bytes()
    except OSError:
        return None
    if zlib.crc32(data) != crc32:
        return None
    reader = pa.ipc.open_file(pa.py_buffer(data))
    return [row for number in range(reader.num_record_batches) for row in rows_of(reader.get_batch(number))]


def _made(top: Path) -> tuple[Path, int | None]:
    """A new folder and its lock; without a lock a folder that is not there, where nothing can be saved."""
    try:
        top.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(top)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=top))
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:
        return top / "missing", None
    return folder, lock


def _remove_abandoned(top: Path) -> None:
    """Remove folders whose run is gone, which nothing locks any more; one without a lock file is just being made."""
    for folder in top.glob("run-*"):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            pass  # its run goes on
        finally:
            os.close(lock)
