"""What lies in a data set's location and belongs to none of its contents: left there by writers that died."""

import time
from dataclasses import dataclass
from pathlib import Path

from workers.data.manifest import LATEST, Manifest, from_bytes
from workers.errors import DataError, MissingKeyError
from workers.store import Store, open_store


@dataclass(frozen=True, slots=True)
class Garbage:
    """What no manifest names.

    Attributes:
        keys: Shards, lists of what was left out and probes, sorted.
        asides: Files of a local location that a killed writer left beside a shard.
        num_bytes: Of both together.
        young: How many others are younger than was asked for.
        contents: How many manifests there are.
    """

    keys: tuple[str, ...]
    asides: tuple[Path, ...]
    num_bytes: int
    young: int
    contents: int


def find_garbage(location: str, *, older_than_s: float) -> Garbage:
    """Find what no manifest names. Objects are listed before manifests, so that what an ingest publishes meanwhile is kept.

    Args:
        location: Folder or ``s3://bucket/prefix`` of data sets.
        older_than_s: Younger objects may belong to an ingest that goes on, so this must be longer than any takes.

    Raises:
        DataError: No data sets there, or a manifest that cannot be read: what it names would be taken for garbage.
    """
    store = open_store(location)
    listed = [key for folder in ("objects/", "skipped/", "probes/") for key in store.list(folder)]
    manifests = _manifests(store)
    if not manifests and not store.exists(LATEST) and not listed:
        raise DataError(f"{location}: no data set there.")
    named = {shard.key for manifest in manifests for shard in manifest.shards}
    named |= {f"skipped/{manifest.digest}.json" for manifest in manifests}
    old: list[str] = []
    num_bytes = young = 0
    for key in listed:
        if key in named:
            continue
        try:
            if store.age_s(key) < older_than_s:
                young += 1
                continue
            num_bytes += store.size(key)
        except MissingKeyError:
            continue  # another one took it away
        old.append(key)
    asides = _asides(store, older_than_s)
    num_bytes += sum(path.stat().st_size for path in asides)
    return Garbage(tuple(sorted(old)), asides, num_bytes, young, len(manifests))


def remove_garbage(location: str, garbage: Garbage) -> None:
    """Remove what was found.

    Raises:
        DataError: A manifest that came since then names some of it; nothing more was removed.
    """
    store = open_store(location)
    named = {shard.key for manifest in _manifests(store) for shard in manifest.shards}
    if named & set(garbage.keys):
        raise DataError(f"{location}: an ingest published meanwhile; look for garbage again when none runs.")
    for key in garbage.keys:
        store.delete(key)
    for path in garbage.asides:
        path.unlink(missing_ok=True)


def _manifests(store: Store) -> list[Manifest]:
    return [
        from_bytes(store.get(key), where=f"{store.location}/{key}")
        for key in store.list("manifests/")
        if key.endswith(".json")
    ]


def _asides(store: Store, older_than_s: float) -> tuple[Path, ...]:
    root = store.local_path("objects")
    if root is None:
        return ()
    now = time.time()
    found = (
        path
        for name in ("objects", "manifests", "refs", "skipped")
        for path in (root.parent / name).glob(".*.tmp")
    )
    return tuple(sorted(path for path in found if now - path.stat().st_mtime >= older_than_s))
