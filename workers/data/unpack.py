"""A data set as files again: images and masks in a layout that ``ingest`` reads, or one Parquet file.

Pictures become ``images/ID.png`` (or ``.jpg``, ``.tif``) and ``masks/ID.png`` of the source ``image_masks``, volumes
``images/ID.nii.gz`` and ``labels/ID.nii.gz`` of ``nifti_pairs``, with ``splits.json``, ``groups.json`` and ``classes.json``.
An image that was stored as a picture's file is that file, byte by byte; one that was stored as an array becomes TIFF, whose
pixels are stored as an array again. So the files have the digest of the data set, but where NIfTI cannot hold its affine
(float32).
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from workers.data.dataset import Case, Dataset, open_dataset, to_case
from workers.data.format import Row, shard_schema, to_batch
from workers.data.ingest import Progress
from workers.data.preview import preview
from workers.errors import DataError
from workers.regions import by_name
from workers.source_files import CLASSES_FILE, GROUPS_FILE, REGIONS_FILE, SPLITS_FILE

_SUFFIX = {"png": ".png", "jpeg": ".jpg"}
_AFTERWARDS = "about.txt"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was written.

    Attributes:
        cases: How many.
        digest: Of the data set.
        digest_of_files: What an ingest of the files would give; None if it would refuse them.
    """

    cases: int
    digest: str
    digest_of_files: str | None


def export_files(location: str, folder: Path, *, on_progress: Progress | None = None) -> Unpacked:
    """Write a data set as images and masks, then read them as an ingest would.

    Args:
        location: Of the data set.
        folder: New or empty.
        on_progress: Told ``export`` and ``check``, how many cases of how many.

    Raises:
        DataError: No data set, a damaged case, unlabelled cases, or a folder that holds something.
    """
    dataset = open_dataset(location)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: not empty; give a new or empty folder for the files.")
    labels = folder / ("masks" if dataset.ndim == 2 else "labels")
    for place in (folder / "images", labels):
        place.mkdir(parents=True, exist_ok=True)
    groups: dict[str, str] = {}
    total = sum(split.rows for split in dataset.manifest.splits.values())
    for row in _rows(dataset):
        case = to_case(row, f"{location}: case {row.id!r}")
        if case.labels is None:
            raise DataError(f"{location}: case {case.id!r} has no labels, which no layout of files can say.")
        if dataset.ndim == 2:
            _write_picture(row, case, folder / "images", labels)
        else:
            _write_volume(case, folder / "images", labels)
        groups[case.id] = case.group or case.id
        if on_progress is not None:
            on_progress("export", len(groups), total)
    _write_descriptions(dataset, folder, groups)
    source = "image_masks" if dataset.ndim == 2 else "nifti_pairs"
    found = preview(folder, source=source, on_progress=on_progress)
    return Unpacked(len(groups), dataset.digest, found.digest)


def export_parquet(location: str, path: Path) -> int:
    """Write a data set as one Parquet file with a checksum for each page; the number of cases.

    The columns are those of a shard. Readers verify with ``page_checksum_verification=True``.

    Raises:
        DataError: No data set, or a damaged case.
    """
    dataset = open_dataset(location)
    schema = shard_schema(dataset.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    count = 0
    try:
        with pq.ParquetWriter(
            aside,
            schema,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        ) as writer:
            for row in _rows(dataset):
                writer.write_batch(to_batch([row], schema))
                count += 1
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return count


def _rows(dataset: Dataset) -> Iterator[Row]:
    for number in range(len(dataset.manifest.shards)):
        yield from dataset.rows(number)


def _write_picture(row: Row, case: Case, images: Path, masks: Path) -> None:
    suffix = _SUFFIX.get(row.image_codec)
    if suffix is not None:
        (images / f"{case.id}{suffix}").write_bytes(row.image)
    else:
        pixels = case.image[0] if len(case.image) == 1 else np.moveaxis(case.image, 0, -1)
        Image.fromarray(np.ascontiguousarray(pixels)).save(images / f"{case.id}.tif")
    assert case.labels is not None, "looked at before"
    Image.fromarray(case.labels).save(masks / f"{case.id}.png")


def _write_volume(case: Case, images: Path, labels: Path) -> None:
    assert case.labels is not None, "looked at before"
    voxels = case.image[0] if len(case.image) == 1 else np.moveaxis(case.image, 0, -1)
    for folder, values in ((images, voxels), (labels, case.labels)):
        volume = nib.nifti1.Nifti1Image(values, case.affine)  # type: ignore[no-untyped-call]  # nibabel has no annotation there
        if case.spacing is not None:
            volume.header["pixdim"][1:4] = case.spacing
        nib.save(volume, folder / f"{case.id}.nii.gz")


def _write_descriptions(dataset: Dataset, folder: Path, groups: dict[str, str]) -> None:
    manifest = dataset.manifest
    classes = [{"name": info.name, "value": info.index, "rgb": list(info.rgb)} for info in manifest.classes]
    splits = {name: list(dataset.ids(name)) for name in manifest.splits}
    contents: tuple[tuple[str, Any], ...] = (
        (CLASSES_FILE, classes),
        (SPLITS_FILE, splits),
        (GROUPS_FILE, groups),
    )
    if manifest.regions:
        contents += ((REGIONS_FILE, by_name(manifest.regions, [info.name for info in manifest.classes])),)
    for name, content in contents:
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / _AFTERWARDS).write_text(
        f"{manifest.name}\nlicence: {manifest.licence}\nreference: {manifest.reference}\ndigest: {manifest.digest}\n",
        encoding="utf-8",
    )
