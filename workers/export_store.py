"""Exports on ``s3://``: made and proved in a folder, then published, the seal last; fetched whole before they are used."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.errors import ExportError, MissingKeyError, NoExportError
from workers.export import PROOF, SEALED
from workers.picture import DRAWING
from workers.store import open_store


def is_exported(place: str) -> bool:
    """Whether a whole export stands there."""
    return open_store(place).exists(PROOF)


@contextmanager
def making_export(place: str) -> Iterator[Path]:
    """A folder to make an export in; what stands in it at the end is at ``place``, all of it or nothing readable.

    Raises:
        ExportError: An export stands there already.
    """
    if "://" not in place:
        yield Path(place)
        return
    store = open_store(place)
    if store.exists(PROOF):
        raise ExportError(f"{place} exists; name another location or remove it.")
    with tempfile.TemporaryDirectory(prefix="segsearch-export-") as parent:
        folder = Path(parent) / "export"
        yield folder
        for name in (*SEALED, PROOF):  # the proof seals the others: an export exists when it does
            store.put(name, (folder / name).read_bytes())


@contextmanager
def local_export(place: str) -> Iterator[Path]:
    """The folder of an export; one on ``s3://`` is fetched into a temporary folder.

    Raises:
        NoExportError: There is none.
    """
    if "://" not in place:
        if not (Path(place) / PROOF).is_file():
            raise NoExportError(f"{place}: no export there ({PROOF} is missing).")
        yield Path(place)
        return
    store = open_store(place)
    with tempfile.TemporaryDirectory(prefix="segsearch-export-") as parent:
        for name in (*SEALED, PROOF):
            try:
                (Path(parent) / name).write_bytes(store.get(name))
            except MissingKeyError:
                if name == DRAWING:  # older exports have none
                    continue
                raise NoExportError(f"{place}: no export there ({name} is missing).") from None
        yield Path(parent)
