"""Multi-page TIFF stacks: ``CASE-volume.tif`` beside ``CASE-labels.tif``, or ``volumes/`` and ``labels/`` of the same names.

Source: the first form is that of the ISBI 2012 challenge, Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image
segmentation algorithms for connectomics", Frontiers in Neuroanatomy 9:142.
Deviations: none. Pages are slices along z; axes become x, y, z. A voxel is 1 x 1 x 1 unless ``spacing.json`` beside the
stacks says ``[x, y, z]``, since TIFF has no depth of a page. Classes and their values: ``classes.json``, such as 0 and 255.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from search_spaces.register import entry
from workers.errors import DataError
from workers.image_file import decode_stack
from workers.source import VOLUME_AXES, RawCase, SampleFiles, Source, SourcePlan
from workers.source_files import load_classes, load_json
from workers.source_pairs import index_files, pair_files, shown

SUFFIXES = (".tif", ".tiff")
SPACING_FILE = "spacing.json"
_ENDINGS = ("-volume", "-labels")


@entry("tiff_stacks")
@dataclass(frozen=True, slots=True)
class TiffStacks(Source):
    """Grey volumes as pages of a TIFF file."""

    layout: ClassVar[str] = (
        "CASE-volume.tif beside CASE-labels.tif, or volumes/ and labels/ with multi-page TIFF files of the same names"
    )

    def recognise(self, folder: Path) -> bool:
        return any(_files(folder)[0])

    def plan(self, folder: Path) -> SourcePlan:
        images, labels, problems = _files(folder)
        samples, alone = pair_files(images, labels)
        stated = (folder / SPACING_FILE).is_file()
        if stated:
            _spacing(folder)
        return SourcePlan(
            name=folder.resolve().name,
            samples=tuple(samples),
            axes=VOLUME_AXES,
            classes=load_classes(folder),
            problems=tuple(problems + alone),
            notes=()
            if stated
            else (f"voxels were taken as 1 x 1 x 1; {SPACING_FILE} can say [x, y, z] in mm",),
        )

    def read(self, sample: SampleFiles) -> RawCase:
        image, labels = (
            decode_stack(path.read_bytes(), where=shown(path)).transpose(2, 1, 0)
            for path in (sample.image, sample.labels)
        )
        folder = sample.image.parent
        spacing = _spacing(folder.parent if folder.name == "volumes" else folder)
        return RawCase(
            np.ascontiguousarray(image)[None],
            np.ascontiguousarray(labels),
            spacing=spacing,
            affine=np.diag([*spacing, 1.0]),
        )


def _files(folder: Path) -> tuple[dict[str, Path], dict[str, Path], list[str]]:
    """Images and labels by case, and problems of their names."""
    if (folder / "volumes").is_dir() and (folder / "labels").is_dir():
        images, first = index_files(folder / "volumes", SUFFIXES, _stem)
        labels, second = index_files(folder / "labels", SUFFIXES, _stem)
        return images, labels, first + second
    files, problems = index_files(folder, SUFFIXES, _stem)
    images, labels = (
        {name.removesuffix(end): path for name, path in files.items() if name.endswith(end)}
        for end in _ENDINGS
    )
    return images, labels, problems


def _spacing(folder: Path) -> tuple[float, ...]:
    path = folder / SPACING_FILE
    if not path.is_file():
        return (1.0, 1.0, 1.0)
    given = load_json(path)
    if (
        not isinstance(given, list)
        or len(given) != 3
        or not all(
            isinstance(size, int | float) and not isinstance(size, bool) and size > 0 for size in given
        )
    ):
        raise DataError(f"{path}: {given!r}; expected three sizes above 0 in mm, [x, y, z].")
    return tuple(map(float, given))


def _stem(path: Path) -> str:
    return path.stem
