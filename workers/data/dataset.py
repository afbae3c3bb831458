"""Open an ingested data set and read its cases, each verified before it is delivered."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.data.format import Row, affine_of, decode_labels, decode_pixels
from workers.data.manifest import LATEST, Manifest, from_bytes, manifest_key, ref_digest
from workers.data.open_shards import OpenShards
from workers.data.shard_cache import CacheCounts, ShardCache, cache_limit, default_cache
from workers.errors import DataError, MissingKeyError
from workers.store import Store, open_store

_PINNED = re.compile(r"@sha256:")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Case:
    """One image or volume with its labels.

    Attributes:
        id: Unique in the data set.
        split: ``train``, ``validation`` or ``test``.
        image: In the stored type; images (C, H, W), volumes (C, X, Y, Z) in the axis order of the NIfTI file.
        labels: Class of each pixel, or ``ignore_index``, (*spatial) uint8; None for an unlabelled case.
        spacing: Voxel size in mm along each spatial axis; None for images.
        affine: From voxel to world in mm (RAS+), (4, 4) float64; None for images.
        group: Patient, video or stack; cases of one group are always in one split.
    """

    id: str
    split: str
    image: npt.NDArray[Any]
    labels: npt.NDArray[np.uint8] | None
    spacing: tuple[float, ...] | None
    affine: npt.NDArray[np.float64] | None
    group: str | None


class Dataset:
    """An immutable data set. Cheap to open; a shard is opened, and verified once a process, when a case needs it.

    It may be handed to other processes: each opens shards by itself.
    """

    def __init__(self, location: str, manifest: Manifest, *, store: Store, cache: ShardCache) -> None:
        self.location = location
        self.manifest = manifest
        self._cache = cache
        self._shards = OpenShards(store, cache, manifest.digest)
        self._places = {
            id: (number, row)
            for number, shard in enumerate(manifest.shards)
            for row, id in enumerate(shard.ids)
        }

    @property
    def digest(self) -> str:
        """Content digest, 64 hexadecimal digits."""
        return self.manifest.digest

    @property
    def num_classes(self) -> int:
        """Number of classes, background included, ``ignore_index`` not."""
        return len(self.manifest.classes)

    @property
    def num_channels(self) -> int:
        """Number of image channels."""
        return len(self.manifest.channels)

    @property
    def ndim(self) -> int:
        """Number of spatial axes: 2 for images, 3 for volumes."""
        return len(self.manifest.axes)

    @property
    def symmetries(self) -> tuple[int, ...]:
        """Stored spatial axes, from 0, along which a flip leaves the labels right."""
        return tuple(self.manifest.axes.index(name) for name in self.manifest.symmetries)

    @property
    def cache_counts(self) -> CacheCounts:
        """What this process had from its cache; a data set in a local folder needs none."""
        return self._cache.counts

    def ids(self, split: str) -> tuple[str, ...]:
        """Cases of a split, sorted.

        Raises:
            DataError: The data set has no such split.
        """
        if split not in self.manifest.splits:
            known = ", ".join(self.manifest.splits)
            raise DataError(f"{self.location}: no split {split!r}; this data set has {known}.")
        return tuple(sorted(id for shard in self.manifest.shards if shard.split == split for id in shard.ids))

    def case(self, id: str, *, copy: bool = True) -> Case:
        """Read one case.

        Args:
            id: Of the case.
            copy: Its arrays are fresh and writable. False gives arrays that are stored as they are (the profile
                ``decoded``) as read-only views of the shard, which stays mapped as long as they live: for who copies
                them anyway, as into a batch.

        Raises:
            DataError: No such case, or its shard is missing or damaged.
        """
        number, row = self._place(id)
        return to_case(self._row(number, row), f"{self.location}: case {id!r}", copy=copy)

    def rows(self, number: int) -> Iterator[Row]:
        """Encoded rows of a shard, in order."""
        return (self._row(number, row) for row in range(len(self.manifest.shards[number].ids)))

    def _place(self, id: str) -> tuple[int, int]:
        if id not in self._places:
            raise DataError(
                f"{self.location}: no case {id!r}; `segsearch data info` shows how cases are named."
            )
        return self._places[id]

    def _row(self, number: int, row: int) -> Row:
        return self._shards.read(self.manifest.shards[number], lambda shard: shard.row(row))


def open_dataset(location: str, *, digest: str | None = None, cache: str | Path | None = None) -> Dataset:
    """Open an ingested data set.

    Args:
        location: Folder or ``s3://bucket/prefix``, optionally followed by ``@sha256:<digest>``.
        digest: Content that is asked for; None takes the one that the location names, else the latest.
        cache: Folder for shards of an ``s3://`` data set; None takes ``SEGSEARCH_CACHE`` or ``~/.cache/segsearch``.

    Raises:
        DataError: No data set there, a raw folder, another digest than asked for, an altered manifest, or a limit of the
            cache (``SEGSEARCH_CACHE_LIMIT``) that is no size or below a shard.
        StoreError: The location cannot be read.
    """
    place, pinned = split_location(location)
    wanted = _plain_digest(digest, location) if digest is not None else pinned
    if pinned is not None and wanted != pinned:
        raise DataError(f"{location}: pinned to another content than {wanted}; drop one of the two digests.")
    store = open_store(place)
    manifest = load_manifest(store, place, digest=wanted)
    shards = ShardCache(default_cache() if cache is None else Path(cache), limit=cache_limit())
    if store.local_path(LATEST) is None:
        shards.require(max(shard.num_bytes for shard in manifest.shards), place)
    return Dataset(place, manifest, store=store, cache=shards)


def load_manifest(store: Store, location: str, *, digest: str | None) -> Manifest:
    """The manifest of a content, or of the latest one.

    Raises:
        DataError: As ``open_dataset``.
    """
    try:
        latest = store.get(LATEST)
    except MissingKeyError:
        raise DataError(_no_dataset(location)) from None
    if digest is None:
        digest = ref_digest(latest, where=f"{location}/{LATEST}")
    key = manifest_key(digest)
    try:
        manifest = from_bytes(store.get(key), where=f"{location}/{key}")
    except MissingKeyError:
        raise DataError(
            f"{location}: holds no content with digest {digest}; it now holds "
            f"{ref_digest(latest, where=location)}. Ingest that content again, or ask for the present one."
        ) from None
    if manifest.digest != digest:
        raise DataError(
            f"{location}/{key}: describes the content {manifest.digest}; ingest the data set again."
        )
    return manifest


def to_case(row: Row, where: str, *, copy: bool = True) -> Case:
    """Decode a row; ``copy`` as in ``Dataset.case``.

    Raises:
        DataError: Its payload is damaged.
    """
    image, labels = decode_pixels(row, where, copy=copy), decode_labels(row, where, copy=copy)
    return Case(row.id, row.split, image, labels, row.spacing, affine_of(row), row.group)


def split_location(location: str) -> tuple[str, str | None]:
    """A location without its ``@sha256:<digest>``, and the digest.

    Raises:
        DataError: What follows ``@sha256:`` is no digest.
    """
    place, *pinned = _PINNED.split(location)
    if not pinned:
        return place, None
    return place, _plain_digest("@sha256:".join(pinned), location)


def _plain_digest(digest: str, location: str) -> str:
    plain = digest.removeprefix("sha256:")
    if not _DIGEST.fullmatch(plain):
        raise DataError(
            f"{location}: {digest!r} is no digest; it has 64 hexadecimal digits, as in `segsearch data info`."
        )
    return plain


def _no_dataset(location: str) -> str:
    folder = Path(location)
    if "://" in location or not folder.exists():
        return f"{location}: no data set there; make one with `segsearch data ingest <SOURCE> {location}`."
    if folder.is_dir() and any(folder.iterdir()):
        return (
            f"{location}: a raw folder, not an ingested data set; type `segsearch data ingest {location} <DEST>` "
            "and name <DEST> instead."
        )
    return f"{location}: empty, not a data set; make one with `segsearch data ingest <SOURCE> {location}`."
