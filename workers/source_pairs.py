"""Images and their labels, matched by file name: what several sources need."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from workers.errors import DataError
from workers.source import LeftOut, RawCase, SampleFiles, first_five
from workers.volume_file import read_volume, whole_labels

AFFINE_TOLERANCE = 1e-2  # mm; headers written by different programs differ by rounding


def index_files(
    folder: Path, suffixes: tuple[str, ...], stem: Callable[[Path], str]
) -> tuple[dict[str, Path], list[str]]:
    """Files of a folder by stem, and what is wrong: two files of one stem. Hidden and other files are left out."""
    files: dict[str, Path] = {}
    twice: list[str] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.name.lower().endswith(suffixes) or not path.is_file():
            continue
        if stem(path) in files:
            twice.append(f"{files[stem(path)].name} and {path.name}")
        files[stem(path)] = path
    return files, [f"{folder.name}: {first_five('duplicate ids', twice)}"] if twice else []


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
        DataError: A file is damaged, or the labels have channels or broken values.
    """
    image = read_volume(sample.image, where=shown(sample.image))
    where = shown(sample.labels)
    labels = read_volume(sample.labels, where=where)
    if len(labels.image) != 1:
        raise DataError(
            f"{where}: labels with {len(labels.image)} channels; allowed is one; merge them first."
        )
    same_place = np.allclose(image.affine, labels.affine, rtol=0, atol=AFFINE_TOLERANCE)
    return RawCase(
        image.image,
        whole_labels(labels.image[0], where=where),
        spacing=image.spacing,
        affine=image.affine,
        notes=() if same_place else ("the affine of the labels differs from the image's, which was taken",),
    )


def shown(path: Path) -> str:
    """A file in a message: its folder's name and its own."""
    return f"{path.parent.name}/{path.name}"
