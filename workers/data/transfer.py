"""Copy a data set from one location to another, folders and buckets alike: shards first, then manifest, then pointer."""

import contextlib
import hashlib
from dataclasses import dataclass

from workers.data.dataset import load_manifest, split_location
from workers.data.ingest import Progress, refuse_foreign, skipped_key
from workers.data.manifest import Manifest, ShardInfo
from workers.data.writer import (
    check_regions,
    has_shard,
    point_latest,
    publish_manifest,
    publish_shard,
    published,
)
from workers.errors import DataError, MissingKeyError
from workers.store import Store, open_store


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did.

    Attributes:
        manifest: Of the content.
        sent, found: Shards that were written, and those that the destination had.
        num_bytes: Of the shards that were written.
    """

    manifest: Manifest
    sent: int
    found: int
    num_bytes: int


def copy_dataset(source: str, dest: str, *, on_progress: Progress | None = None) -> Copied:
    """Copy one content. Every shard is compared with its sha256 on the way; one that was cut off goes on where it stopped.

    Args:
        source: Location of a data set, optionally followed by ``@sha256:<digest>``; without it the latest content.
        dest: Folder or ``s3://bucket/prefix``.
        on_progress: Told ``copy``, how many shards of how many.

    Raises:
        DataError: No data set there, a shard that is missing or damaged, or a destination that holds other files, or the
            content with other regions.
        StoreError: One of the two cannot be reached.
    """
    place, digest = split_location(source)
    origin, target = open_store(place), open_store(dest)
    manifest = load_manifest(origin, place, digest=digest)
    refuse_foreign(target, dest)
    standing = published(target, manifest.digest)
    if standing is not None:
        check_regions(standing, manifest.regions, dest)
        point_latest(target, standing)
        return Copied(standing, 0, len(standing.shards), 0)
    sent = num_bytes = 0
    for number, shard in enumerate(manifest.shards, start=1):
        if not has_shard(target, shard):
            publish_shard(target, shard, _fetched(origin, shard))
            sent, num_bytes = sent + 1, num_bytes + shard.num_bytes
        if on_progress is not None:
            on_progress("copy", number, len(manifest.shards))
    with contextlib.suppress(MissingKeyError):  # nothing was left out when it was ingested
        target.put(skipped_key(manifest.digest), origin.get(skipped_key(manifest.digest)))
    return Copied(publish_manifest(target, manifest), sent, len(manifest.shards) - sent, num_bytes)


def _fetched(store: Store, shard: ShardInfo) -> bytes:
    where = f"{store.location}/{shard.key}"
    try:
        data = store.get(shard.key)
    except MissingKeyError:
        raise DataError(f"{where}: shard missing; ingest the data set again.") from None
    if hashlib.sha256(data).hexdigest() != shard.sha256:
        raise DataError(
            f"{where}: {len(data)} bytes that differ from the manifest's sha256 (it says {shard.num_bytes} bytes); "
            "ingest the data set again."
        )
    return data
