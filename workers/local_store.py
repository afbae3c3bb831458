"""A folder as a store: a value is written aside, synced and renamed, so that a reader sees all of it or none."""

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.errors import MissingKeyError, StoreError


class LocalStore:
    """A folder. It is made when the first key is written."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def location(self) -> str:
        return str(self._root)

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise MissingKeyError(f"{self.location}/{key}: nothing there.") from None
        except OSError as error:
            raise StoreError(f"{self.location}/{key}: cannot be read ({error.strerror}).") from None

    def parts(self, key: str) -> Iterator[bytes]:
        yield self.get(key)

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}.tmp")
            try:
                _write_synced(aside, data)
                if not if_absent:
                    aside.replace(path)
                else:
                    os.link(aside, path)
            except FileExistsError:
                return False
            finally:
                aside.unlink(missing_ok=True)
            _sync_folder(path.parent)
        except OSError as error:
            raise StoreError(f"{self.location}/{key}: cannot be written ({error.strerror}).") from None
        return True

    def swap(self, key: str, data: bytes, expected: bytes | None) -> bool:
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(path.with_name(f".{path.name}.lock")):
                held = path.read_bytes() if path.exists() else None
                return held == expected and self.put(key, data)
        except OSError as error:
            raise StoreError(f"{self.location}/{key}: cannot be written ({error.strerror}).") from None

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def size(self, key: str) -> int:
        path = self._path(key)
        if not path.is_file():
            raise MissingKeyError(f"{self.location}/{key}: nothing there.")
        return path.stat().st_size

    def age_s(self, key: str) -> float:
        path = self._path(key)
        if not path.is_file():
            raise MissingKeyError(f"{self.location}/{key}: nothing there.")
        return time.time() - path.stat().st_mtime

    def list(self, prefix: str = "") -> tuple[str, ...]:
        # Only the folder that the prefix names can hold matches; it may be far smaller than the root.
        top = self._root / Path(prefix).parent if "/" in prefix else self._root
        keys = (path.relative_to(self._root) for path in top.rglob("*") if path.is_file())
        shown = (key.as_posix() for key in keys if not any(part.startswith(".") for part in key.parts))
        return tuple(sorted(key for key in shown if key.startswith(prefix)))

    def delete(self, key: str) -> None:
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.location}/{key}: cannot be removed ({error.strerror}).") from None

    def local_path(self, key: str) -> Path | None:
        return self._path(key)

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)


def checked_key(key: str) -> str:
    """The key itself.

    Raises:
        StoreError: It could leave its location, or is hidden.
    """
    parts = key.split("/")
    if any(not part or part.startswith(".") for part in parts) or "\\" in key or not key.isprintable():
        raise StoreError(f"key {key!r}: allowed are names joined by '/', none empty or starting with a dot.")
    return key


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, which the kernel drops if the process dies."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
