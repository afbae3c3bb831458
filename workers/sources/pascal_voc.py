"""PASCAL VOC 2012 segmentation: ``JPEGImages/``, ``SegmentationClass/``, ``ImageSets/Segmentation/``.

Source: Everingham et al. 2015, "The PASCAL Visual Object Classes Challenge: A Retrospective", IJCV 111, and its kit.
Deviations: the labels of the test split are not public, so the validation list is the test split (``with_test_split``).
Masks are palette pictures whose indices are the classes; 255, the border of objects, is ignored.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from search_spaces.register import entry
from workers.source import IMAGE_AXES, RawCase, SampleFiles, Source, SourceClass, SourcePlan
from workers.source_pictures import existing, read_lines, read_picture_pair, with_test_split

CLASSES = (
    SourceClass("background", 0, (0, 0, 0)),
    SourceClass("aeroplane", 1, (128, 0, 0)),
    SourceClass("bicycle", 2, (0, 128, 0)),
    SourceClass("bird", 3, (128, 128, 0)),
    SourceClass("boat", 4, (0, 0, 128)),
    SourceClass("bottle", 5, (128, 0, 128)),
    SourceClass("bus", 6, (0, 128, 128)),
    SourceClass("car", 7, (128, 128, 128)),
    SourceClass("cat", 8, (64, 0, 0)),
    SourceClass("chair", 9, (192, 0, 0)),
    SourceClass("cow", 10, (64, 128, 0)),
    SourceClass("diningtable", 11, (192, 128, 0)),
    SourceClass("dog", 12, (64, 0, 128)),
    SourceClass("horse", 13, (192, 0, 128)),
    SourceClass("motorbike", 14, (64, 128, 128)),
    SourceClass("person", 15, (192, 128, 128)),
    SourceClass("pottedplant", 16, (0, 64, 0)),
    SourceClass("sheep", 17, (128, 64, 0)),
    SourceClass("sofa", 18, (0, 192, 0)),
    SourceClass("train", 19, (128, 192, 0)),
    SourceClass("tvmonitor", 20, (0, 64, 128)),
)
_LISTS = {"train": "train", "val": "validation"}
_ROOTS = ("", "VOC2012", "VOCdevkit/VOC2012")


@entry("pascal_voc")
@dataclass(frozen=True, slots=True)
class PascalVoc(Source):
    """Photographs, 20 classes of objects and background."""

    layout: ClassVar[str] = (
        "JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/, or VOC2012/ with them"
    )

    def recognise(self, folder: Path) -> bool:
        return _root(folder) is not None

    def plan(self, folder: Path) -> SourcePlan:
        root = _root(folder) or folder
        listed = [
            SampleFiles(id, root / f"JPEGImages/{id}.jpg", root / f"SegmentationClass/{id}.png", id, split)
            for name, split in _LISTS.items()
            for id in read_lines(root / f"ImageSets/Segmentation/{name}.txt")
        ]
        samples, problems = existing(root, listed)
        placed, notes = with_test_split(samples)
        return SourcePlan(
            name="PASCAL VOC 2012",
            samples=placed,
            axes=IMAGE_AXES,
            classes=CLASSES,
            channels=("red", "green", "blue"),
            symmetries=("width",),
            reference="Everingham et al. 2015, IJCV 111",
            problems=tuple(problems),
            notes=notes,
        )

    def read(self, sample: SampleFiles) -> RawCase:
        return read_picture_pair(sample)


def _root(folder: Path) -> Path | None:
    roots = (folder / inner for inner in _ROOTS)
    return next(
        (
            root
            for root in roots
            if (root / "ImageSets/Segmentation").is_dir() and (root / "SegmentationClass").is_dir()
        ),
        None,
    )
