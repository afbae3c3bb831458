"""List files: ``pairs.csv``, or ``pairs_train.csv``, ``pairs_val.csv`` and ``pairs_test.csv``, an image and its mask a line.

    photos/a/001.jpg,drawn/a/001.png

Paths are relative to the list and stay inside its folder. The id of a case is its image's path without the suffix, slashes
turned into ``_``. A first line ``image,label`` (or ``image,mask``) is a heading. Classes: ``classes.json`` or ``classes.txt``.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from search_spaces.register import entry
from workers.errors import DataError
from workers.source import IMAGE_AXES, RawCase, SampleFiles, Source, SourcePlan
from workers.source_files import load_classes
from workers.source_pictures import existing, read_lines, read_picture_pair

_LISTS = {
    "pairs.csv": None,
    "pairs_train.csv": "train",
    "pairs_val.csv": "validation",
    "pairs_validation.csv": "validation",
    "pairs_test.csv": "test",
}
_SHOWN = 200  # letters of a line in a message
_HEADINGS = (["image", "label"], ["image", "labels"], ["image", "mask"])


@entry("list_files")
@dataclass(frozen=True, slots=True)
class ListFiles(Source):
    """Pictures anywhere below a folder, named by lists."""

    layout: ClassVar[str] = (
        "pairs.csv, or pairs_train.csv, pairs_val.csv and pairs_test.csv, with an image,label a line"
    )

    def recognise(self, folder: Path) -> bool:
        return any((folder / name).is_file() for name in _LISTS)

    def plan(self, folder: Path) -> SourcePlan:
        lists = [name for name in _LISTS if (folder / name).is_file()]
        if len(lists) > 1 and "pairs.csv" in lists:
            raise DataError(
                f"{folder}: pairs.csv beside {lists[1]}; allowed is one list of all cases, or one for each split."
            )
        samples, problems = existing(folder, (sample for name in lists for sample in _listed(folder, name)))
        return SourcePlan(
            name=folder.resolve().name,
            samples=tuple(samples),
            axes=IMAGE_AXES,
            classes=load_classes(folder),
            symmetries=("width",),
            problems=tuple(problems),
        )

    def read(self, sample: SampleFiles) -> RawCase:
        return read_picture_pair(sample)


def _listed(folder: Path, name: str) -> Iterator[SampleFiles]:
    for number, row in enumerate(_rows(folder / name), start=1):
        if number == 1 and [word.strip().lower() for word in row] in _HEADINGS:
            continue
        if len(row) != 2 or not all(word.strip() for word in row):
            given = ",".join(row)
            given = given if len(given) <= _SHOWN else f"{given[:_SHOWN]}…"
            raise DataError(f"{folder / name}: entry {number}: {given!r}; expected two paths, image,label.")
        image, labels = (PurePosixPath(word.strip()) for word in row)
        id = "_".join(image.with_suffix("").parts)
        yield SampleFiles(id, folder / image, folder / labels, id, _LISTS[name])


def _rows(path: Path) -> Iterator[list[str]]:
    try:
        yield from csv.reader(read_lines(path), skipinitialspace=True)
    except csv.Error as error:
        raise DataError(f"{path}: no list of pairs ({error}); expected two paths, image,label.") from None
