"""Pictures and masks that a list or a published layout names: what several sources need."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from workers.colour_mask import decode_colours
from workers.errors import DataError
from workers.image_file import codec_of, decode_image, decode_mask, has_alpha, is_image
from workers.levels import level_counts
from workers.source import Array, LeftOut, RawCase, SampleFiles, first_five
from workers.source_pairs import duplicate_ids, is_file, real, shown

VALIDATION_SHARE = 0.1  # of the training groups, where a published test split has no labels
_IGNORED = 255


def read_picture_pair(sample: SampleFiles, *, ignored: Sequence[int] = ()) -> RawCase:
    """Read a picture and its mask; mask values that the data set ignores become 255.

    Raises:
        DataError: A file is damaged or of a wrong kind.
    """
    data = sample.image.read_bytes()
    image = decode_image(data, where=shown(sample.image), drop_opaque_alpha=True)
    if sample.coloured:
        labels: Array = decode_colours(sample.labels.read_bytes(), where=shown(sample.labels))
    else:
        labels = decode_mask(sample.labels.read_bytes(), where=shown(sample.labels))
    return picture_case(image, with_ignored(labels, ignored), data=data)


def picture_case(image: Array, labels: Array, *, data: bytes) -> RawCase:
    """A decoded picture and its labels; it is kept as its file's bytes (``data``) where these are what a shard can hold."""
    codec = "raw+zstd" if has_alpha(data) else codec_of(data)
    return RawCase(image, labels, picture=None if codec == "raw+zstd" else data, codec=codec)


def with_ignored(labels: Array, ignored: Sequence[int]) -> Array:
    """Labels in which these values have become 255."""
    if not ignored:
        return labels
    if labels.dtype == np.uint8:  # a fifth of the time: 255 is all bits, and minus one in a byte
        for value in ignored:
            labels = labels | -(labels == value).view(np.uint8)
        return labels
    return np.where(np.isin(labels, ignored), np.asarray(_IGNORED, labels.dtype), labels)


def binary_mask(path: Path, size: tuple[int, ...] | None) -> Array:
    """Where the object or class of a mask file is, bool (H, W); it has this size, or any.

    Raises:
        DataError: It is damaged, of another size, or has other values than 0 and one more.
    """
    where = f"{path.parent.parent.name}/{shown(path)}"
    mask = decode_mask(path.read_bytes(), where=where)
    if size is not None and mask.shape != size:
        sizes = (" x ".join(map(str, shape)) for shape in (size, mask.shape))
        raise DataError("{}: image {}, mask {}; give both the same size.".format(where, *sizes))
    values = np.flatnonzero(level_counts(mask)) if mask.dtype == np.uint8 else np.unique(mask)
    if len(values) > 2 or (len(values) == 2 and values[0] != 0):
        listed = ", ".join(map(str, values[:5]))
        raise DataError(f"{where}: values {listed}; a mask of one object or class has 0 and one other value.")
    inside: Array = mask != 0
    return inside


def is_by_class(folder: Path) -> bool:
    """Whether ``masks/`` beside ``images/`` with pictures has a folder of masks for each class, and no mask itself."""
    images, masks = folder / "images", folder / "masks"
    if not (images.is_dir() and masks.is_dir() and any(map(is_image, images.iterdir()))):
        return False
    if any(map(is_image, masks.iterdir())):
        return False
    return any(is_image(path) for place in class_folders(masks) for path in place.iterdir())


def class_folders(masks: Path) -> list[Path]:
    """Folders of masks, one a class, sorted."""
    return sorted(path for path in masks.iterdir() if path.is_dir() and not path.name.startswith("."))


def read_lines(path: Path) -> list[str]:
    """Lines of a list file without blanks around them; empty ones are left out.

    Raises:
        DataError: It is missing or no UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; save the list as UTF-8.") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def existing(folder: Path, listed: Iterable[SampleFiles]) -> tuple[list[SampleFiles], list[str]]:
    """Listed cases whose files exist inside a folder, sorted by id, and what is wrong with the others."""
    root = folder.resolve()
    is_inside = cache(lambda path: real(path).is_relative_to(root))
    kept: list[SampleFiles] = []
    missing: list[str] = []
    outside: list[str] = []
    for sample in listed:
        files = (sample.image, sample.labels)
        strays = [
            file
            for file in files
            if not is_inside(
                real(file) if file.name == ".." or (is_file(file) and file.is_symlink()) else file.parent
            )
        ]
        absent = [file for file in files if not is_file(file)]
        if strays:
            outside += map(str, strays)
        elif absent:
            missing += [file.relative_to(folder).as_posix() for file in absent]
        else:
            kept.append(sample)
    problems: list[str] = []
    if missing:
        problems.append(LeftOut(first_five("listed files are missing", missing), missing))
    if outside:
        problems.append(first_five("listed files lie outside the folder", outside))
    return sorted(kept, key=lambda sample: sample.id), problems + duplicate_ids(kept)


def with_test_split(samples: Sequence[SampleFiles]) -> tuple[tuple[SampleFiles, ...], tuple[str, ...]]:
    """Three splits where only train and validation have public labels, and a note that says so.

    The published validation cases become the test split, so that its figures compare with published ones; a tenth of the
    training groups, drawn by a hash of their names, becomes the validation split.
    """
    groups = sorted({sample.group for sample in samples if sample.split == "train"}, key=_place)
    drawn = {group for group in groups if _place(group) < VALIDATION_SHARE} or set(groups[:1])
    moved = {"validation": "test"}
    placed = tuple(
        replace(sample, split="validation")
        if sample.split == "train" and sample.group in drawn
        else replace(sample, split=moved.get(sample.split or "", sample.split))
        for sample in samples
    )
    note = (
        "the published test split has no labels: the published validation cases are the test split, and a tenth "
        "of the training groups, drawn by a hash, is the validation split; splits.json can say otherwise"
    )
    return placed, (note,)


def _place(group: str) -> float:
    digest = hashlib.sha256(b"segsearch-validation-1\0" + group.encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64
