"""Cityscapes: ``leftImg8bit/SPLIT/CITY/`` and ``gtFine/SPLIT/CITY/`` with ``labelIds``.

Source: Cordts et al. 2016, "The Cityscapes Dataset for Semantic Urban Scene Understanding", arXiv:1604.01685, and the table of
labels of its scripts: 34 label ids, of which 19 are trained and judged.
Deviations: the labels of the test split are not public, so the validation cities are the test split (``with_test_split``).
Without ``gtFine/`` the coarse labels in ``gtCoarse/`` are read, ``train_extra`` among the training cases. A drive
(``CITY_SEQUENCE``) is a group.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from search_spaces.register import entry
from workers.source import IMAGE_AXES, RawCase, SampleFiles, Source, SourceClass, SourcePlan
from workers.source_pairs import duplicate_ids, pair_files
from workers.source_pictures import read_picture_pair, with_test_split

CLASSES = (
    SourceClass("road", 7, (128, 64, 128)),
    SourceClass("sidewalk", 8, (244, 35, 232)),
    SourceClass("building", 11, (70, 70, 70)),
    SourceClass("wall", 12, (102, 102, 156)),
    SourceClass("fence", 13, (190, 153, 153)),
    SourceClass("pole", 17, (153, 153, 153)),
    SourceClass("traffic light", 19, (250, 170, 30)),
    SourceClass("traffic sign", 20, (220, 220, 0)),
    SourceClass("vegetation", 21, (107, 142, 35)),
    SourceClass("terrain", 22, (152, 251, 152)),
    SourceClass("sky", 23, (70, 130, 180)),
    SourceClass("person", 24, (220, 20, 60)),
    SourceClass("rider", 25, (255, 0, 0)),
    SourceClass("car", 26, (0, 0, 142)),
    SourceClass("truck", 27, (0, 0, 70)),
    SourceClass("bus", 28, (0, 60, 100)),
    SourceClass("train", 31, (0, 80, 100)),
    SourceClass("motorcycle", 32, (0, 0, 230)),
    SourceClass("bicycle", 33, (119, 11, 32)),
)
IGNORED = tuple(sorted(set(range(34)) - {item.value for item in CLASSES}))
_SPLITS = {"train": "train", "train_extra": "train", "val": "validation"}
_IMAGE = "_leftImg8bit.png"


@entry("cityscapes")
@dataclass(frozen=True, slots=True)
class Cityscapes(Source):
    """Driving scenes in 50 cities, 19 classes."""

    layout: ClassVar[str] = "leftImg8bit/ beside gtFine/ (or gtCoarse/), each SPLIT/CITY/"

    def recognise(self, folder: Path) -> bool:
        return (folder / "leftImg8bit").is_dir() and _annotations(folder) is not None

    def plan(self, folder: Path) -> SourcePlan:
        annotations = _annotations(folder) or "gtFine"
        samples: list[SampleFiles] = []
        problems: list[str] = []
        for name, split in _SPLITS.items():
            if not (folder / annotations / name).is_dir():
                continue
            images = _files(folder / "leftImg8bit" / name, _IMAGE)
            labels = _files(folder / annotations / name, f"_{annotations}_labelIds.png")
            pairs, alone = pair_files(images, labels, split=split, where=f"{name}: ")
            samples += [
                SampleFiles(pair.id, pair.image, pair.labels, pair.id.rpartition("_")[0], split)
                for pair in pairs
            ]
            problems += alone
        placed, notes = with_test_split(sorted(samples, key=lambda sample: sample.id))
        return SourcePlan(
            name="Cityscapes" if annotations == "gtFine" else "Cityscapes coarse",
            samples=placed,
            axes=IMAGE_AXES,
            classes=CLASSES,
            channels=("red", "green", "blue"),
            symmetries=("width",),
            reference="Cordts et al. 2016, arXiv:1604.01685",
            problems=tuple(problems + duplicate_ids(samples)),
            notes=(f"label ids {', '.join(map(str, IGNORED))} are ignored", *notes),
        )

    def read(self, sample: SampleFiles) -> RawCase:
        return read_picture_pair(sample, ignored=IGNORED)


def _annotations(folder: Path) -> str | None:
    return next((name for name in ("gtFine", "gtCoarse") if (folder / name).is_dir()), None)


def _files(folder: Path, ending: str) -> dict[str, Path]:
    """Files of all cities by ``CITY_SEQUENCE_FRAME``."""
    return {path.name.removesuffix(ending): path for path in sorted(folder.glob(f"*/[!.]*{ending}"))}
