"""A folder a case with one picture and one mask for each object: nuclei as the Data Science Bowl 2018 has them.

    CASE/images/CASE.png, CASE/masks/*.png

Source: Caicedo et al. 2019, "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl", Nature Methods 16;
``stage1_train`` of its files.
Deviations: all masks of a case become one class, so objects that touch are one region. An alpha channel that is opaque
everywhere, as these pictures have, is dropped; any other is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from search_spaces.register import entry
from workers.image_file import decode_image, is_image
from workers.source import (
    IMAGE_AXES,
    LeftOut,
    RawCase,
    SampleFiles,
    Source,
    SourceClass,
    SourcePlan,
    first_five,
)
from workers.source_files import load_classes
from workers.source_pairs import shown
from workers.source_pictures import binary_mask, picture_case

_CLASSES = (SourceClass("background", 0), SourceClass("object", 1))
_SPLIT_FOLDERS = ("stage1_train", "train")


@entry("object_masks")
@dataclass(frozen=True, slots=True)
class ObjectMasks(Source):
    """Pictures with a mask file for each object."""

    layout: ClassVar[str] = (
        "CASE/images/CASE.png with a mask for each object in CASE/masks/, whole or in stage1_train/"
    )

    def recognise(self, folder: Path) -> bool:
        return any(True for _ in _cases(folder))

    def plan(self, folder: Path) -> SourcePlan:
        samples, bare = [], []
        for case, image in _cases(folder):
            masks = case / "masks"
            if masks.is_dir() and any(map(is_image, masks.iterdir())):
                samples.append(SampleFiles(case.name, image, masks, case.name))
            else:
                bare.append(case.name)
        classes = load_classes(folder) or _CLASSES
        problems: list[str] = []
        if bare:
            problems.append(LeftOut(first_five("cases have a picture but no mask", bare), bare))
        if sorted(item.value for item in classes) != [0, 1]:
            problems.append("classes.json: expected a background with value 0 and an object with value 1")
        return SourcePlan(
            name=folder.resolve().name,
            samples=tuple(samples),
            axes=IMAGE_AXES,
            classes=classes,
            symmetries=IMAGE_AXES,
            problems=tuple(problems),
            notes=("the masks of a case are one class; objects that touch become one region",),
        )

    def read(self, sample: SampleFiles) -> RawCase:
        data = sample.image.read_bytes()
        image = decode_image(data, where=shown(sample.image), drop_opaque_alpha=True)
        labels = np.zeros(image.shape[1:], np.uint8)
        num_objects = np.zeros(image.shape[1:], np.uint16)
        for path in sorted(filter(is_image, sample.labels.iterdir())):
            inside = binary_mask(path, image.shape[1:])
            labels[inside] = 1
            num_objects += inside
        notes = ("masks of different objects overlap",) if (num_objects > 1).any() else ()
        return replace(picture_case(image, labels, data=data), notes=notes)


def _cases(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Folders of cases, each with its picture, which has the folder's name."""
    root = next((folder / name for name in _SPLIT_FOLDERS if (folder / name).is_dir()), folder)
    for case in sorted(root.iterdir()):
        images = case / "images"
        if case.name.startswith(".") or not images.is_dir():
            continue
        image = next(
            (path for path in sorted(images.iterdir()) if is_image(path) and path.stem == case.name), None
        )
        if image is not None:
            yield case, image
