"""PASCAL Context: ``trainval/*.mat``, ``labels.txt`` and ``59_labels.txt`` beside ``VOC2010/``.

Source: Mottaghi et al. 2014, "The Role of Context for Object Detection and Semantic Segmentation in the Wild", CVPR, and its
files: ``LabelMap`` of each .mat holds indices of the 459 categories in ``labels.txt``; the 59 most frequent are judged.
Deviations: every other category, and 0, is ignored, which is the set of 59 classes without background. The splits are the
lists of VOC 2010; as the labels of its test split are not public, its validation list is the test split (``with_test_split``).
``59_labels.txt`` names three categories otherwise than ``labels.txt``; the names here are those of ``labels.txt``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from search_spaces.register import entry
from workers.errors import DataError
from workers.image_file import decode_image
from workers.mat_file import read_labels
from workers.source import IMAGE_AXES, Array, RawCase, SampleFiles, Source, SourceClass, SourcePlan
from workers.source_pairs import shown
from workers.source_pictures import existing, picture_case, read_lines, with_test_split

_TEXT = """
aeroplane bicycle bird boat bottle bus car cat chair cow table dog horse motorbike person pottedplant sheep sofa train
tvmonitor bag bed bench book building cabinet ceiling cloth computer cup door fence floor flower food grass ground keyboard
light mountain mouse curtain platform sign plate road rock shelves sidewalk sky snow bedclothes track tree truck wall water
window wood
"""
NAMES = tuple(_TEXT.split())
CLASSES = tuple(SourceClass(name, value) for value, name in enumerate(NAMES))
_IGNORED = 255
_LISTS = {"train": "train", "val": "validation"}
_VOC = ("VOC2010", "VOCdevkit/VOC2010")
_LIST_FOLDERS = ("ImageSets/SegmentationContext", "ImageSets/Main")


@entry("pascal_context")
@dataclass(frozen=True, slots=True)
class PascalContext(Source):
    """Photographs of VOC 2010, 59 classes of things and stuff."""

    layout: ClassVar[str] = (
        "labels.txt and trainval/ with .mat files beside VOC2010/JPEGImages and VOC2010/ImageSets/Main"
    )

    def recognise(self, folder: Path) -> bool:
        return (
            (folder / "trainval").is_dir() and (folder / "labels.txt").is_file() and _voc(folder) is not None
        )

    def plan(self, folder: Path) -> SourcePlan:
        voc = _voc(folder) or folder
        lists = next((voc / name for name in _LIST_FOLDERS if (voc / name).is_dir()), voc / _LIST_FOLDERS[-1])
        _table(folder / "labels.txt")
        listed = [
            SampleFiles(id, voc / f"JPEGImages/{id}.jpg", folder / f"trainval/{id}.mat", id, split)
            for name, split in _LISTS.items()
            for id in read_lines(lists / f"{name}.txt")
        ]
        samples, problems = existing(folder, listed)
        placed, notes = with_test_split(samples)
        return SourcePlan(
            name="PASCAL Context",
            samples=placed,
            axes=IMAGE_AXES,
            classes=CLASSES,
            channels=("red", "green", "blue"),
            symmetries=("width",),
            reference="Mottaghi et al. 2014, The Role of Context, CVPR",
            problems=tuple(problems),
            notes=("categories outside the list of 59 are ignored", *notes),
        )

    def read(self, sample: SampleFiles) -> RawCase:
        data = sample.image.read_bytes()
        image = decode_image(data, where=shown(sample.image))
        where = shown(sample.labels)
        categories = read_labels(sample.labels.read_bytes(), where=where, variable="LabelMap")
        table = _table(sample.labels.parent.parent / "labels.txt")
        odd = (categories < 0) | (categories >= len(table))
        if odd.any():
            raise DataError(
                f"{where}: label {categories[odd][0]} ({int(odd.sum())} pixels are beyond the list) is no category; "
                f"allowed are 0 to {len(table) - 1} of labels.txt."
            )
        return picture_case(image, table[categories], data=data)


def _voc(folder: Path) -> Path | None:
    return next((folder / name for name in _VOC if (folder / name / "JPEGImages").is_dir()), None)


def _table(path: Path) -> Array:
    """Class of each category of ``labels.txt`` (``1: accordion``), 255 for those outside the 59."""
    names: dict[int, str] = {}
    for line in read_lines(path):
        number, colon, name = line.partition(":")
        if not colon or not number.strip().isdecimal() or not 0 < int(number) < 2**16:
            raise DataError(f"{path}: {line!r}; expected a number and a category, such as '1: accordion'.")
        names[int(number)] = name.strip().replace(" ", "")
    absent = sorted(set(NAMES) - set(names.values()))
    if absent:
        raise DataError(
            f"{path}: lacks the categories {', '.join(absent[:5])} of the 59; take the published file."
        )
    table = np.full(max(names) + 1, _IGNORED, np.uint8)
    for value, category in names.items():
        if category in NAMES:
            table[value] = NAMES.index(category)
    return table
