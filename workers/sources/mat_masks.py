"""Pictures beside MATLAB masks: ``images/`` with PNG, JPEG or TIFF, ``masks/`` with .mat files of the same names.

A .mat file holds one array of two dimensions, the label of each pixel. Classes: ``classes.json`` or ``classes.txt``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from search_spaces.register import entry
from workers.image_file import SUFFIXES, decode_image
from workers.mat_file import read_labels
from workers.source import IMAGE_AXES, RawCase, SampleFiles, Source, SourcePlan
from workers.source_files import load_classes
from workers.source_pairs import index_files, pair_files, shown
from workers.source_pictures import picture_case


@entry("mat_masks")
@dataclass(frozen=True, slots=True)
class MatMasks(Source):
    """Pictures with label arrays of MATLAB."""

    layout: ClassVar[str] = "images/ with pictures and masks/ with .mat files of the same names"

    def recognise(self, folder: Path) -> bool:
        return (folder / "images").is_dir() and any((folder / "masks").glob("*.mat"))

    def plan(self, folder: Path) -> SourcePlan:
        images, first = index_files(folder / "images", SUFFIXES, _stem)
        masks, second = index_files(folder / "masks", (".mat",), _stem)
        samples, alone = pair_files(images, masks)
        return SourcePlan(
            name=folder.resolve().name,
            samples=tuple(samples),
            axes=IMAGE_AXES,
            classes=load_classes(folder),
            symmetries=("width",),
            problems=tuple(first + second + alone),
        )

    def read(self, sample: SampleFiles) -> RawCase:
        data = sample.image.read_bytes()
        image = decode_image(data, where=shown(sample.image))
        labels = read_labels(sample.labels.read_bytes(), where=shown(sample.labels))
        return picture_case(image, labels, data=data)


def _stem(path: Path) -> str:
    return path.stem
