"""Images and their labels, matched by file name: what several sources need."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from workers.errors import DataError
from workers.source import LeftOut, RawCase, SampleFiles, first_five, printable
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
    """Read a NIfTI image and its NIfTI labels.

    Raises:
        DataError: A file is damaged, or the labels have channels, broken values, or another place than the image.
    """
    image = read_volume(sample.image, where=shown(sample.image))
    where = shown(sample.labels)
    labels = read_volume(sample.labels, where=where)
    if len(labels.image) != 1:
        raise DataError(
            f"{where}: labels with {len(labels.image)} channels; allowed is one; merge them first."
        )
    apart, allowed = _apart_mm(image, labels), min(image.spacing) / 2
    if image.is_placed and labels.is_placed and apart > allowed:
        raise DataError(
            f"{where}: lies up to {apart:.4g} mm from its image, as their headers say; allowed is half a voxel, "
            f"{allowed:.4g} mm; correct its affine, or resample it to the voxels of the image."
        )
    same_place = np.allclose(image.affine, labels.affine, rtol=0, atol=AFFINE_TOLERANCE)
    return RawCase(
        image.image,
        whole_labels(labels.image[0], where=where),
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


def real(path: Path) -> Path:
    """Where a path leads when links are followed; one that leads nowhere, such as a loop of links, stays."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # a zero in it
        return path


def shown(path: Path) -> str:
    """A file in a message: its folder's name and its own."""
    return printable(f"{path.parent.name}/{path.name}")


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
    return float(np.linalg.norm(corners @ (image.affine - labels.affine)[:3].T, axis=1).max())
