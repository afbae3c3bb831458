"""The manifest of a data set: what it holds, and which shards hold it.

A manifest is canonical JSON (sorted keys, no blanks, floats of nine significant digits) under
``manifests/<digest>.json``. It carries the sha256 of itself, so that an edited one is refused. The digest of the data set
is another thing: it depends on the content only, not on shards, their order, compression or library versions.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from search_spaces.regions import Region, Regions
from workers.errors import DataError

JSON = dict[str, Any]

FORMAT = "segsearch-dataset"
SCHEMA_VERSION = 1
SPLITS = ("train", "validation", "test")
IGNORE_INDEX = 255
LATEST = "refs/latest.json"


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """A class: its label value in the data set, its public name, its colour in pictures (0..255 each)."""

    index: int
    name: str
    rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SplitInfo:
    """What a split holds.

    Attributes:
        rows: Number of cases.
        groups: Number of patients, videos or stacks that they come from.
        shards: Number of shards.
        class_pixels: Labelled pixels or voxels of each class.
        ignored_pixels: Pixels or voxels with ``ignore_index``.
        unlabelled: Cases without labels.
    """

    rows: int
    groups: int
    shards: int
    class_pixels: tuple[int, ...]
    ignored_pixels: int
    unlabelled: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Numbers measured on training cases only, in stored units.

    Attributes:
        mean, std: Per channel, over every pixel or voxel.
        low, high: Percentiles 0.5 and 99.5 per channel, over an even subsample of each case.
        median_spacing: Voxel size in mm along each spatial axis; None for images.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    median_spacing: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class BatchInfo:
    """Where a record batch lies in its shard: bytes [offset, offset + length), and their CRC-32."""

    offset: int
    length: int
    rows: int
    crc32: int


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One Arrow file, named by the sha256 of its bytes.

    Attributes:
        num_bytes: Size of the file.
        header_bytes: Magic, schema and dictionaries; the first batch starts here.
        ids: Cases in the order of the rows.
    """

    sha256: str
    num_bytes: int
    split: str
    header_bytes: int
    ids: tuple[str, ...]
    batches: tuple[BatchInfo, ...]

    @property
    def key(self) -> str:
        """Where the shard lies in its data set."""
        return f"objects/{self.sha256}.arrow"


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that is known about a data set without opening a shard.

    Attributes:
        digest: Content digest, 64 hexadecimal digits.
        name: Name of the data set.
        licence: Licence as the source states it; empty when it states none.
        reference: Where the data come from, as the source states it.
        source: Kind of the source that read the folder.
        classes: In order of their index.
        ignore_index: Label that never counts.
        channels: Names of the image channels, such as ``MRI`` or ``red``.
        axes: Names of the spatial axes in stored order: ``height, width``, or ``x, y, z`` as in the NIfTI file.
        symmetries: Axes along which a flip leaves the labels right.
        splits: By name, in the order train, validation, test.
        statistics: Of training cases only.
        shape_min, shape_max: Smallest and largest (*spatial) size over all cases, axis by axis.
        shards: Sorted by split, then first id.
        notes: What a reader should know about how the source was understood.
        created_by: Versions of segsearch and pyarrow that wrote it.
        profile: How its cases are stored, ``encoded`` or ``decoded``.
        regions: What a search learns by default instead of the classes, which are unions of them then; mostly none.
    """

    digest: str
    name: str
    licence: str
    reference: str
    source: str
    classes: tuple[ClassInfo, ...]
    ignore_index: int
    channels: tuple[str, ...]
    axes: tuple[str, ...]
    symmetries: tuple[str, ...]
    splits: Mapping[str, SplitInfo]
    statistics: Statistics
    shape_min: tuple[int, ...]
    shape_max: tuple[int, ...]
    shards: tuple[ShardInfo, ...]
    notes: tuple[str, ...]
    created_by: Mapping[str, str]
    profile: str = "encoded"
    regions: Regions = ()

    @property
    def key(self) -> str:
        """Where the manifest lies in its data set."""
        return manifest_key(self.digest)


def manifest_key(digest: str) -> str:
    """Key of the manifest of a content digest."""
    return f"manifests/{digest}.json"


def dataset_digest(lines: Iterable[str], classes: Iterable[str]) -> str:
    """Content digest of a data set.

    Args:
        lines: One canonical line a case (``workers.data.format.digest_line``), any order.
        classes: Class names in order of their index.

    Specified in docs/data-format.md: a case's line also holds shape, element type, spacing, affine and group,
        since results depend on them too.
    """
    digest = hashlib.sha256()
    digest.update(canonical({"schema_version": SCHEMA_VERSION, "classes": list(classes)}))
    for line in sorted(lines):
        digest.update(b"\n" + line.encode())
    return digest.hexdigest()


def to_bytes(manifest: Manifest) -> bytes:
    """The manifest as canonical JSON with its own sha256 under ``checksum``."""
    body = {"format": FORMAT, "schema_version": SCHEMA_VERSION, **_to_json(manifest)}
    return canonical({**body, "checksum": hashlib.sha256(canonical(body)).hexdigest()})


def from_bytes(data: bytes, *, where: str) -> Manifest:
    """Inverse of ``to_bytes``.

    Args:
        data: The file.
        where: Its location, for messages.

    Raises:
        DataError: It is not a manifest of this schema version, or was altered.
    """
    try:
        body = json.loads(data)
    except ValueError:
        raise DataError(f"{where}: not JSON, so it is no manifest; ingest the data set again.") from None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise DataError(f"{where}: not a manifest of a segsearch data set (its format is not {FORMAT!r}).")
    if body.get("schema_version") != SCHEMA_VERSION:
        raise DataError(
            f"{where}: schema version {body.get('schema_version')!r}; this program reads version {SCHEMA_VERSION}; "
            "ingest the data set again or use the segsearch that wrote it."
        )
    checksum = body.pop("checksum", None)
    if checksum != hashlib.sha256(canonical(body)).hexdigest():
        raise DataError(
            f"{where}: altered since it was written (its sha256 differs); ingest the data set again."
        )
    return _from_json(body)


def ref_to_bytes(manifest: Manifest) -> bytes:
    """What ``refs/latest.json`` holds."""
    return canonical({"digest": manifest.digest, "manifest": manifest.key})


def ref_digest(data: bytes, *, where: str) -> str:
    """The digest that ``refs/latest.json`` names.

    Raises:
        DataError: It is damaged.
    """
    try:
        return str(json.loads(data)["digest"])
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{where}: damaged; ingest the data set again.") from None


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no blanks, ASCII; floats as they come, so round them before (``rounded``)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def rounded(value: float) -> float:
    """Nine significant digits, which every float32 survives and which hides the order of a sum."""
    return float(f"{value:.9g}")


def _to_json(manifest: Manifest) -> JSON:
    splits = manifest.splits
    return {
        "created_by": dict(manifest.created_by),
        "dataset": {
            "name": manifest.name,
            "licence": manifest.licence,
            "reference": manifest.reference,
            "source": manifest.source,
        },
        "dataset_digest": manifest.digest,
        "classes": [asdict(info) for info in manifest.classes],
        "ignore_index": manifest.ignore_index,
        "channels": manifest.channels,
        "axes": manifest.axes,
        "symmetries": manifest.symmetries,
        "splits": {
            name: {"rows": s.rows, "groups": s.groups, "shards": s.shards, "unlabelled": s.unlabelled}
            for name, s in splits.items()
        },
        "class_pixels": {name: s.class_pixels for name, s in splits.items()},
        "ignored_pixels": {name: s.ignored_pixels for name, s in splits.items()},
        "image_mean": manifest.statistics.mean,
        "image_std": manifest.statistics.std,
        "image_low": manifest.statistics.low,
        "image_high": manifest.statistics.high,
        "median_spacing": manifest.statistics.median_spacing,
        "shape_min": manifest.shape_min,
        "shape_max": manifest.shape_max,
        "notes": manifest.notes,
        "shards": [_shard_to_json(shard) for shard in manifest.shards],
        **({} if manifest.profile == "encoded" else {"profile": manifest.profile}),
        **({"regions": [asdict(region) for region in manifest.regions]} if manifest.regions else {}),
    }


def _from_json(body: JSON) -> Manifest:
    spacing = body["median_spacing"]
    return Manifest(
        digest=body["dataset_digest"],
        **body["dataset"],
        classes=tuple(ClassInfo(c["index"], c["name"], tuple(c["rgb"])) for c in body["classes"]),
        ignore_index=body["ignore_index"],
        channels=tuple(body["channels"]),
        axes=tuple(body["axes"]),
        symmetries=tuple(body["symmetries"]),
        splits={
            name: SplitInfo(
                class_pixels=tuple(body["class_pixels"][name]),
                ignored_pixels=body["ignored_pixels"][name],
                **body["splits"][name],
            )
            for name in SPLITS
            if name in body["splits"]
        },
        statistics=Statistics(
            mean=tuple(body["image_mean"]),
            std=tuple(body["image_std"]),
            low=tuple(body["image_low"]),
            high=tuple(body["image_high"]),
            median_spacing=None if spacing is None else tuple(spacing),
        ),
        shape_min=tuple(body["shape_min"]),
        shape_max=tuple(body["shape_max"]),
        shards=tuple(_shard_from_json(shard) for shard in body["shards"]),
        notes=tuple(body["notes"]),
        created_by=dict(body["created_by"]),
        profile=body.get("profile", "encoded"),
        regions=tuple(Region(r["name"], tuple(r["classes"])) for r in body.get("regions", ())),
    )


def _shard_to_json(shard: ShardInfo) -> JSON:
    return {
        "sha256": shard.sha256,
        "bytes": shard.num_bytes,
        "rows": len(shard.ids),
        "split": shard.split,
        "first_id": shard.ids[0],
        "last_id": shard.ids[-1],
        "header_bytes": shard.header_bytes,
        "ids": shard.ids,
        "batches": [(b.offset, b.length, b.rows, b.crc32) for b in shard.batches],
    }


def _shard_from_json(body: JSON) -> ShardInfo:
    return ShardInfo(
        sha256=body["sha256"],
        num_bytes=body["bytes"],
        split=body["split"],
        header_bytes=body["header_bytes"],
        ids=tuple(body["ids"]),
        batches=tuple(BatchInfo(*batch) for batch in body["batches"]),
    )
