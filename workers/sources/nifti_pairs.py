"""NIfTI volumes beside their labels, without a description.

Two forms. Folders: ``images/`` and ``labels/`` (or ``masks/``) whose files have the same names. Suffixes:
``<case>_image.nii.gz`` and ``<case>_label.nii.gz`` in the folder or one level below; a file named only ``image.nii.gz``
takes the name of its folder. In the second form a subfolder is a patient: its cases stay in one split. Labels with a fourth
axis hold 0 and 1 for each of the classes, which may overlap, that ``label_channels.json`` names.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from search_spaces.register import entry
from workers.source import VOLUME_AXES, Array, RawCase, SampleFiles, Source, SourcePlan
from workers.source_files import load_classes, with_geometry, with_label_channels
from workers.source_pairs import duplicate_ids, index_files, pair_files, read_volume_pair, read_volume_sets
from workers.volume_file import SUFFIXES, is_volume, stem

_IMAGE = re.compile(r"(?:(.+)[_-])?(?:image|img)", re.IGNORECASE)
_LABELS = re.compile(r"(?:(.+)[_-])?(?:labels?|masks?|seg|segmentation)", re.IGNORECASE)
_LABEL_FOLDERS = ("labels", "masks")


@entry("nifti_pairs")
@dataclass(frozen=True, slots=True)
class NiftiPairs(Source):
    """NIfTI images and labels paired by name."""

    layout: ClassVar[str] = (
        "images/ and labels/ with NIfTI files of the same names, or <case>_image.nii.gz beside <case>_label.nii.gz"
    )

    def recognise(self, folder: Path) -> bool:
        if (folder / "dataset.json").exists():
            return False
        if _label_folder(folder) is not None:
            return any(map(is_volume, (folder / "images").iterdir()))
        return any(_IMAGE.fullmatch(stem(path)) for path in _volumes(folder))

    def plan(self, folder: Path) -> SourcePlan:
        labels = _label_folder(folder)
        if labels is None:
            samples, problems = _by_suffix(folder)
        else:
            image_files, problems = index_files(folder / "images", SUFFIXES, stem)
            label_files, more = index_files(labels, SUFFIXES, stem)
            samples, alone = pair_files(image_files, label_files)
            problems += more + alone
        plan = SourcePlan(
            name=folder.resolve().name,
            samples=tuple(samples),
            axes=VOLUME_AXES,
            classes=load_classes(folder),
            problems=tuple(problems + duplicate_ids(samples)),
        )
        return with_geometry(folder, with_label_channels(folder, plan))

    def read(self, sample: SampleFiles) -> RawCase:
        return read_volume_pair(sample)

    def read_sets(self, sample: SampleFiles) -> Array:
        return read_volume_sets(sample)


def _label_folder(folder: Path) -> Path | None:
    if not (folder / "images").is_dir():
        return None
    return next((folder / name for name in _LABEL_FOLDERS if (folder / name).is_dir()), None)


def _volumes(folder: Path) -> list[Path]:
    files = [*folder.glob("*.nii*"), *folder.glob("*/*.nii*")]
    return sorted(filter(is_volume, files))


def _by_suffix(folder: Path) -> tuple[list[SampleFiles], list[str]]:
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    problems = []
    for path in _volumes(folder):
        for pattern, files in ((_IMAGE, images), (_LABELS, labels)):
            match = pattern.fullmatch(stem(path))
            if match is None:
                continue
            id = match[1] or path.resolve().parent.name
            if id in files:
                problems.append(
                    f"id {id!r} is used by {files[id].relative_to(folder)} and {path.relative_to(folder)}"
                )
            files[id] = path
    samples, alone = pair_files(images, labels)
    grouped = [
        sample if sample.image.parent == folder else replace(sample, group=sample.image.parent.name)
        for sample in samples
    ]
    return grouped, problems + alone
