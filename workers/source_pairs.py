"""Images and their labels, matched by file name: what several sources need."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from workers.errors import DataError
from workers.source import Array, LeftOut, RawCase, SampleFiles, first_five, printable
from workers.source_sets import set_labels
from workers.volume_file import Volume, read_volume, whole_labels

AFFINE_TOLERANCE = 1e-2  # mm; headers written by different programs differ by rounding


def index_files(
    folder: Path, suffixes: tuple[str, ...], stem: Callable[[Path], str]
) -> tuple[dict[str, Path], list[str]]:
    """Files of a folder by stem, and what is wrong: two files of one stem, or what is named like a file and is none.

    Hidden and other files are left out.
    """
    files: dict[str, Path] = {}
    twice: list[str] = []
    strange: list[str] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.name.lower().endswith(suffixes):
            continue
        if not is_file(path):
            strange.append(path.name)
            continue
        if stem(path) in files:
            twice.append(f"{files[stem(path)].name} and {path.name}")
        files[stem(path)] = path
    problems = [f"{folder.name}: {first_five('duplicate ids', twice)}"] if twice else []
    if strange:
        what = first_five("are no files, but folders or links to nothing", strange)
        problems.append(f"{folder.name}: {what}; remove or replace them")
    return files, problems


def pair_files(
    images: Mapping[str, Path], labels: Mapping[str, Path], *, split: str | None = None, where: str = ""
) -> tuple[list[SampleFiles], list[str]]:
    """Cases that have both files, and a problem for each side that has files alone."""
    both = sorted(images.keys() & labels.keys())
    samples = [SampleFiles(id, images[id], labels[id], id, split) for id in both]
    problems: list[str] = []
    for what, mine, others in (
        ("images without labels", images, labels),
        ("labels without an image", labels, images),
    ):
        alone = [mine[id].name for id in sorted(mine.keys() - others.keys())]
        if alone:
            problems.append(LeftOut(f"{where}{first_five(what, alone)}", alone))
    return samples, problems


def duplicate_ids(samples: Sequence[SampleFiles]) -> list[str]:
    """A problem when an id names more than one case."""
    seen: set[str] = set()
    twice = sorted({sample.id for sample in samples if sample.id in seen or seen.add(sample.id)})  # type: ignore[func-returns-value]  # add gives None
    return [first_five("ids are used more than once; rename the files", twice)] if twice else []


def read_volume_pair(sample: SampleFiles) -> RawCase:
    """Read a NIfTI image and its NIfTI labels: classes, or channels of 0 and 1 where the sample has such.

    Raises:
        DataError: A file is damaged, or the labels have channels, broken values, or another place than the image.
    """
    image = read_volume(sample.image, where=shown(sample.image))
    where = shown(sample.labels)
    labels = read_volume(sample.labels, where=where)
    apart, allowed = _apart_mm(image, labels), min(image.spacing) / 2
    if image.is_placed and labels.is_placed and apart > allowed and not sample.by_voxel:
        raise DataError(
            f"{where}: lies up to {apart:.4g} mm from its image, as their headers say; allowed is half a voxel, "
            f"{allowed:.4g} mm; correct its affine, resample it to the voxels of the image, or, where each voxel belongs to "
            'that of the image all the same, put geometry.json with {"labels": "by_voxel"} beside the data.'
        )
    same_place = np.allclose(image.affine, labels.affine, rtol=0, atol=AFFINE_TOLERANCE)
    return RawCase(
        image.image,
        _label_values(labels, sample.channels, where),
        spacing=image.spacing,
        affine=image.affine,
        notes=() if same_place else ("the affine of the labels differs from the image's, which was taken",),
    )


def is_file(path: Path) -> bool:
    """Whether there is such a file; what cannot be one, such as a name that is too long, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_volume_sets(sample: SampleFiles) -> Array:
    """The labels of a NIfTI file with channels, with a bit for each.

    Raises:
        DataError: As ``read_volume_pair``.
    """
    where = shown(sample.labels)
    return _label_values(read_volume(sample.labels, where=where), sample.channels, where)


def real(path: Path) -> Path:
    """Where a path leads when links are followed; one that leads nowhere, such as a loop of links, stays."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # a zero in it
        return path


def shown(path: Path) -> str:
    """A file in a message: its folder's name and its own."""
    return printable(f"{path.parent.name}/{path.name}")


def _label_values(labels: Volume, num_channels: int, where: str) -> Array:
    found = len(labels.image)
    if not num_channels:
        if found != 1:
            raise DataError(
                f"{where}: labels with {found} channels; allowed is one, or a label_channels.json beside the data that "
                f'names them in their order, such as ["whole", "core"].'
            )
        return whole_labels(labels.image[0], where=where)
    if found != num_channels:
        raise DataError(
            f"{where}: labels with {found} channels; label_channels.json names {num_channels}; allowed are as many."
        )
    inside: dict[int, Array] = {}
    for number, channel in enumerate(labels.image):
        inside[number] = channel == 1
        odd = channel[~(inside[number] | (channel == 0))]
        if odd.size:
            raise DataError(
                f"{where}: channel {number} has the value {odd[0]:g} and others, {odd.size} times; allowed are 0 and 1."
            )
    return set_labels(inside, num_sets=num_channels, shape=labels.image.shape[1:])


def _apart_mm(image: Volume, labels: Volume) -> float:
    """How far the same voxel of two volumes lies apart at most, which is at a corner; 0 where their sizes differ."""
    shape = image.image.shape[1:]
    if labels.image.shape[1:] != shape:
        return 0.0
    corners = np.array(
        [
            (*(at * (size - 1) for at, size in zip(corner, shape, strict=True)), 1)
            for corner in np.ndindex(2, 2, 2)
        ]
    )
    return float(
        np.sqrt((np.einsum("ij,kj->ki", (image.affine - labels.affine)[:3], corners) ** 2).sum(1)).max()
    )
