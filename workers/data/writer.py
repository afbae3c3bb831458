"""Write shards and publish a data set: shards first, then the manifest, then the pointer to it.

A reader that finds no manifest sees no data set, so a writer may die at any instruction: what it left is found again by
its name, the sha256 of its bytes, when the same content is ingested once more.

Specified in docs/data-format.md: a shard that lies under its name with other bytes
is replaced, since its name says which bytes are right.
"""

import hashlib
import zlib
from collections.abc import Sequence

import pyarrow as pa

from search_spaces.regions import Regions
from workers.data.format import Row, shard_schema, to_batch
from workers.data.manifest import (
    LATEST,
    BatchInfo,
    Manifest,
    ShardInfo,
    from_bytes,
    manifest_key,
    ref_to_bytes,
    to_bytes,
)
from workers.errors import DataError, MissingKeyError
from workers.store import Store

MIB = 2**20
MIN_SHARD_BYTES, MAX_SHARD_BYTES = MIB, 64 * MIB
SHARDS_A_SPLIT = 8
BATCH_ROWS = 8  # for cases from 0.05 to 1 MB
SMALL_CASE_BYTES, LARGE_CASE_BYTES = 50_000, 1_000_000
BATCH_BYTES = 2 * MIB  # for others
REF_ATTEMPTS = 10


def plan_shards(sizes: Sequence[int], *, shard_bytes: int | None = None) -> list[range]:
    """Cut a split into shards of consecutive cases.

    Args:
        sizes: Bytes of each case in its source files, in the order of the ids; a plan is a function of the source only.
        shard_bytes: Size aimed at; None takes an eighth of the split, between 1 and 64 MiB.
    """
    target = shard_bytes or min(MAX_SHARD_BYTES, max(MIN_SHARD_BYTES, sum(sizes) // SHARDS_A_SPLIT))
    shards, start, held = [], 0, 0
    for number, size in enumerate(sizes):
        if number > start and held + size > target:
            shards.append(range(start, number))
            start, held = number, 0
        held += size
    return [*shards, range(start, len(sizes))]


def encode_shard(rows: Sequence[Row], digest: str) -> tuple[ShardInfo, bytes]:
    """A shard of these rows, which are of one split, and what the manifest says about it."""
    schema = shard_schema(digest)
    step = _batch_rows(rows)
    groups = [rows[start : start + step] for start in range(0, len(rows), step)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        for group in groups:
            writer.write_batch(to_batch(group, schema))
    data: bytes = sink.getvalue().to_pybytes()
    places = _batch_places(data)
    info = ShardInfo(
        sha256=hashlib.sha256(data).hexdigest(),
        num_bytes=len(data),
        split=rows[0].split,
        header_bytes=places[0][0],
        ids=tuple(row.id for row in rows),
        batches=tuple(
            BatchInfo(start, end - start, len(group), zlib.crc32(memoryview(data)[start:end]))
            for (start, end), group in zip(places, groups, strict=True)
        ),
    )
    return info, data


def publish_shard(store: Store, info: ShardInfo, data: bytes) -> None:
    """Store a shard unless it is there already; nothing is sent then."""
    if (
        not has_shard(store, info)
        and not store.put(info.key, data, if_absent=True)
        and not has_shard(store, info)
    ):
        store.put(info.key, data)


def publish_manifest(store: Store, manifest: Manifest) -> Manifest:
    """Make a data set visible, once all its shards are stored.

    Returns:
        The manifest that stands: another one of the same content, if it came first and is whole.

    Raises:
        DataError: It has other regions, or others keep moving ``refs/latest.json``.
    """
    if not store.put(manifest.key, to_bytes(manifest), if_absent=True):
        standing = published(store, manifest.digest)
        if standing is None:
            store.put(manifest.key, to_bytes(manifest))
        else:
            check_regions(standing, manifest.regions, store.location)
            manifest = standing
    point_latest(store, manifest)
    return manifest


def check_regions(standing: Manifest, regions: Regions, where: str) -> None:
    """Refuse a manifest that stands in the way of one of the same content with other regions.

    Raises:
        DataError: Its regions are not these.
    """
    if standing.regions != regions:
        raise DataError(f"{where}: holds this content with other regions; give another destination.")


def published(store: Store, digest: str) -> Manifest | None:
    """The manifest of a content whose shards are all there with the right bytes, else None."""
    key = manifest_key(digest)
    try:
        manifest = from_bytes(store.get(key), where=f"{store.location}/{key}")
    except (MissingKeyError, DataError):
        return None
    return manifest if all(has_shard(store, shard) for shard in manifest.shards) else None


def point_latest(store: Store, manifest: Manifest) -> None:
    """Move ``refs/latest.json`` by compare-and-swap.

    Raises:
        DataError: Others keep moving it.
    """
    wanted = ref_to_bytes(manifest)
    for _ in range(REF_ATTEMPTS):
        held = store.get(LATEST) if store.exists(LATEST) else None
        if held == wanted or store.swap(LATEST, wanted, held):
            return
    raise DataError(f"{store.location}/{LATEST}: others keep changing it; ingest one content at a time.")


def has_shard(store: Store, info: ShardInfo) -> bool:
    """Whether a shard is stored with the right bytes, which are read for it."""
    try:
        return hashlib.sha256(store.get(info.key)).hexdigest() == info.sha256
    except MissingKeyError:
        return False


def _batch_rows(rows: Sequence[Row]) -> int:
    mean = sum(row.num_bytes for row in rows) / len(rows)
    if SMALL_CASE_BYTES <= mean <= LARGE_CASE_BYTES:
        return BATCH_ROWS
    return max(1, int(BATCH_BYTES // max(1, mean)))


def _batch_places(data: bytes) -> list[tuple[int, int]]:
    """Start and end of each record batch; pyarrow does not tell, so the messages are walked.

    An Arrow file is ``ARROW1\\0\\0``, then a stream (schema, dictionaries, record batches), then the footer.
    """
    magic = 8
    source = pa.BufferReader(pa.py_buffer(data)[magic:])
    reader = pa.ipc.MessageReader.open_stream(source)
    places = []
    start = magic
    for message in reader:
        end = magic + source.tell()
        if message.type == "record batch":
            places.append((start, end))
        start = end
    return places
