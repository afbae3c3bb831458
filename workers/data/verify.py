"""Read a data set whole and compare it with its manifest; say what it holds."""

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from workers.data.dataset import Dataset, open_dataset
from workers.data.format import Row, content_hashes, decode_labels, decode_pixels, digest_line
from workers.data.manifest import Manifest, dataset_digest
from workers.data.shard_cache import CacheCounts
from workers.data.statistics import label_counts
from workers.errors import DataError
from workers.regions import by_name

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a verification found.

    Attributes:
        location: Of the data set.
        digest: Content that its manifest names.
        shards, cases: How many were read whole.
        share: Of the shards that were read; below 1 the digest and the label counts are not compared.
        problems: What is wrong, a sentence each; empty when all is right.
        cache: What came from the node's cache; nothing for a data set in a folder.
    """

    location: str
    digest: str
    shards: int
    cases: int
    share: float
    problems: tuple[str, ...]
    cache: CacheCounts

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_dataset(location: str, *, share: float = 1.0, seed: int = 0) -> VerifyReport:
    """Read every byte and decode every case of a data set, and recompute its digest and label counts.

    Args:
        location: Of the data set.
        share: Of the shards that are read, in (0, 1]; at least one is.
        seed: Which ones: the same seed takes the same, another one others.

    Raises:
        DataError: There is no data set, its manifest was altered, or another share.
    """
    if not 0 < share <= 1:
        raise DataError(f"{location}: a share of {share}; allowed are numbers above 0 up to 1.")
    dataset = open_dataset(location)
    manifest = dataset.manifest
    problems: list[str] = []
    lines: list[str] = []
    pixels: dict[str, Counter[int]] = {name: Counter() for name in manifest.splits}
    chosen = _chosen(manifest, share, seed)
    for number in chosen:
        shard = manifest.shards[number]
        try:
            for row in dataset.rows(number):
                lines.append(digest_line(row))
                pixels[shard.split].update(_checked(row, f"{shard.key}: case {row.id!r}"))
        except DataError as error:
            problems.append(str(error))
    if not problems and len(chosen) == len(manifest.shards):
        problems += _differences(manifest, lines, pixels)
    return VerifyReport(
        dataset.location,
        manifest.digest,
        len(chosen),
        len(lines),
        len(chosen) / len(manifest.shards),
        tuple(problems),
        dataset.cache_counts,
    )


def describe(dataset: Dataset) -> JSON:
    """What a data set holds, for people and machines: no shard is opened."""
    manifest = dataset.manifest
    pixels = {name: sum(split.class_pixels) for name, split in manifest.splits.items()}
    regions = by_name(manifest.regions, [info.name for info in manifest.classes])
    return {
        "name": manifest.name,
        "profile": manifest.profile,
        "location": dataset.location,
        "digest": manifest.digest,
        "licence": manifest.licence,
        "reference": manifest.reference,
        "source": manifest.source,
        "axes": list(manifest.axes),
        "channels": list(manifest.channels),
        "symmetries": list(manifest.symmetries),
        "splits": {
            name: {"cases": split.rows, "groups": split.groups, "ignored_pixels": split.ignored_pixels}
            for name, split in manifest.splits.items()
        },
        "classes": [
            {
                "index": info.index,
                "name": info.name,
                "rgb": list(info.rgb),
                "share": {
                    name: split.class_pixels[info.index] / pixels[name] if pixels[name] else None
                    for name, split in manifest.splits.items()
                },
            }
            for info in manifest.classes
        ],
        **({"regions": regions} if regions else {}),
        "shape_min": list(manifest.shape_min),
        "shape_max": list(manifest.shape_max),
        "median_spacing_mm": None
        if manifest.statistics.median_spacing is None
        else list(manifest.statistics.median_spacing),
        "shards": len(manifest.shards),
        "bytes": sum(shard.num_bytes for shard in manifest.shards),
        "notes": list(manifest.notes),
        "created_by": dict(manifest.created_by),
    }


def _chosen(manifest: Manifest, share: float, seed: int) -> list[int]:
    """Numbers of a share of the shards, in their order, drawn by a hash of the seed and the shard."""

    def place(number: int) -> bytes:
        return hashlib.sha256(f"{seed}\0{manifest.shards[number].sha256}".encode()).digest()

    count = math.ceil(share * len(manifest.shards))
    return sorted(sorted(range(len(manifest.shards)), key=place)[:count])


def _checked(row: Row, where: str) -> Counter[int]:
    """Label counts of a row whose payloads decode and have their hashes."""
    image, labels = decode_pixels(row, where, copy=False), decode_labels(row, where, copy=False)
    if content_hashes(row, image, labels) != (row.image_sha256, row.mask_sha256):
        raise DataError(f"{where}: its image or labels differ from their sha256; ingest the data set again.")
    if labels is None:
        return Counter()
    return Counter(label_counts(labels))


def _differences(manifest: Manifest, lines: list[str], pixels: dict[str, Counter[int]]) -> list[str]:
    problems = []
    digest = dataset_digest(lines, [info.name for info in manifest.classes])
    if digest != manifest.digest:
        problems.append(
            f"the content has the digest {digest}, the manifest says {manifest.digest}; ingest again."
        )
    for name, split in manifest.splits.items():
        counted = tuple(pixels[name][info.index] for info in manifest.classes)
        if counted != split.class_pixels or pixels[name][manifest.ignore_index] != split.ignored_pixels:
            problems.append(
                f"split {name!r}: label counts {counted}, the manifest says {split.class_pixels}."
            )
        if split.rows != sum(len(shard.ids) for shard in manifest.shards if shard.split == name):
            problems.append(f"split {name!r}: the manifest says {split.rows} cases, its shards hold others.")
    return problems
