"""CamVid in the layout of SegNet: ``train.txt``, ``val.txt``, ``test.txt``, ``train/``, ``trainannot/`` and so on.

Source: Brostow, Fauqueur, Cipolla 2009, "Semantic object classes in video", Pattern Recognition Letters 30; the split, the 11
classes and the layout are those of Badrinarayanan et al. 2017, "SegNet", arXiv:1511.00561, and its tutorial.
Deviations: none. The lists name files under a path of their authors' machine (``/SegNet/CamVid/train/x.png``); its last two
parts are taken. Value 11, void, is ignored. Each frame is a group: the published splits share videos.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from search_spaces.register import entry
from workers.errors import DataError
from workers.source import IMAGE_AXES, RawCase, SampleFiles, Source, SourceClass, SourcePlan
from workers.source_pictures import existing, read_lines, read_picture_pair

CLASSES = (
    SourceClass("sky", 0, (128, 128, 128)),
    SourceClass("building", 1, (128, 0, 0)),
    SourceClass("pole", 2, (192, 192, 128)),
    SourceClass("road", 3, (128, 64, 128)),
    SourceClass("pavement", 4, (60, 40, 222)),
    SourceClass("tree", 5, (128, 128, 0)),
    SourceClass("sign", 6, (192, 128, 128)),
    SourceClass("fence", 7, (64, 64, 128)),
    SourceClass("car", 8, (64, 0, 128)),
    SourceClass("pedestrian", 9, (64, 64, 0)),
    SourceClass("bicyclist", 10, (0, 128, 192)),
)
VOID = 11
_LISTS = {"train.txt": "train", "val.txt": "validation", "test.txt": "test"}


@entry("camvid")
@dataclass(frozen=True, slots=True)
class CamVid(Source):
    """Frames of driving scenes, 11 classes."""

    layout: ClassVar[str] = (
        "train.txt, val.txt, test.txt with train/, trainannot/ and so on, as SegNet has CamVid"
    )

    def recognise(self, folder: Path) -> bool:
        return (folder / "train.txt").is_file() and (folder / "trainannot").is_dir()

    def plan(self, folder: Path) -> SourcePlan:
        listed = [sample for name in _LISTS if (folder / name).is_file() for sample in _listed(folder, name)]
        samples, problems = existing(folder, listed)
        return SourcePlan(
            name="CamVid",
            samples=tuple(samples),
            axes=IMAGE_AXES,
            classes=CLASSES,
            channels=("red", "green", "blue"),
            symmetries=("width",),
            reference="Brostow, Fauqueur, Cipolla 2009, Pattern Recognition Letters 30; split of arXiv:1511.00561",
            problems=tuple(problems),
            notes=(f"value {VOID}, void, is ignored", "the published splits share videos"),
        )

    def read(self, sample: SampleFiles) -> RawCase:
        return read_picture_pair(sample, ignored=(VOID,))


def _listed(folder: Path, name: str) -> Iterator[SampleFiles]:
    for number, line in enumerate(read_lines(folder / name), start=1):
        parts = line.split()
        if len(parts) != 2 or any(len(PurePosixPath(part).parts) < 2 for part in parts):
            raise DataError(
                f"{folder / name}: entry {number}: {line!r}; expected an image and its mask, such as "
                "/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png."
            )
        image, labels = (folder.joinpath(*PurePosixPath(part).parts[-2:]) for part in parts)
        yield SampleFiles(image.stem, image, labels, image.stem, _LISTS[name])
