"""Pictures with a mask for each class, which may overlap: several labels a pixel.

    images/NAME.png, masks/CLASS/NAME.png

A mask has 0 and one other value; where a folder of ``masks/`` has no mask of an image, the class is not in it. The classes
of the data set are the combinations that occur, such as ``cell+nucleus``, beside a background of none; each folder is a region,
the union of its combinations, which a search learns by default. Without a ``splits.json`` each picture is drawn by itself,
unless ``groups.json`` names patients or videos.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from search_spaces.regions import Region
from search_spaces.register import entry
from workers.colour_mask import packed
from workers.data.manifest import IGNORE_INDEX
from workers.errors import DataError
from workers.image_file import SUFFIXES, decode_image
from workers.regions import in_order, name_problem
from workers.source import (
    IMAGE_AXES,
    Array,
    LeftOut,
    RawCase,
    SampleFiles,
    Source,
    SourceClass,
    SourcePlan,
    first_five,
)
from workers.source_pairs import index_files, shown
from workers.source_pictures import binary_mask, class_folders, is_by_class, picture_case

MOST_FOLDERS = 24  # a combination is a number with a bit for each
_ENDS = (*SUFFIXES, *(end.upper() for end in SUFFIXES))


@entry("class_masks")
@dataclass(frozen=True, slots=True)
class ClassMasks(Source):
    """PNG, JPEG or TIFF images with a folder of binary masks for each class."""

    layout: ClassVar[str] = (
        "images/ with pictures, and masks/CLASS/ with a mask of the same name for each class"
    )

    def recognise(self, folder: Path) -> bool:
        return is_by_class(folder)

    def plan(self, folder: Path) -> SourcePlan:
        folders = class_folders(folder / "masks")
        images, problems = index_files(folder / "images", SUFFIXES, lambda path: path.stem)
        masks: set[str] = set()
        for place in folders:
            found, twice = index_files(place, SUFFIXES, lambda path: path.stem)
            masks |= found.keys()
            problems += twice
            if odd := [path.name for path in found.values() if path.suffix not in _ENDS]:
                problems.append(
                    f"masks/{place.name}: {first_five('suffixes mix small and capital letters', odd)}; use small ones"
                )
        bare, alone = sorted(images.keys() - masks), sorted(masks - images.keys())
        if bare:
            hint = "give them an empty mask where nothing is in them"
            problems.append(LeftOut(f"{first_five('images have no mask', bare)}; {hint}", bare))
        if alone:
            problems.append(LeftOut(first_five("masks have no image", alone), alone))
        samples = [
            SampleFiles(name, images[name], folder / "masks", name) for name in sorted(images.keys() & masks)
        ]
        names = [place.name for place in folders]
        problems += _name_problems(names)
        sets = _combinations(samples, folders) if len(folders) <= MOST_FOLDERS else []
        problems += _set_problems(sets, names)
        plan = SourcePlan(
            name=folder.resolve().name,
            samples=tuple(samples),
            axes=IMAGE_AXES,
            symmetries=("width",),
            problems=tuple(problems),
        )
        return plan if problems and not sets else _with_classes(plan, sets, names)

    def read(self, sample: SampleFiles) -> RawCase:
        data = sample.image.read_bytes()
        image = decode_image(data, where=shown(sample.image))
        folders = class_folders(sample.labels)
        return picture_case(image, _bits(sample.id, folders, image.shape[1:]), data=data)


def _bits(name: str, folders: Sequence[Path], size: tuple[int, ...] | None) -> Array:
    """A number a pixel with a bit for each folder whose mask it is in, packed as a colour is; masks have this or one size.

    Raises:
        DataError: A mask is damaged, no binary mask, or of another size.
    """
    labels: Array | None = None if size is None else np.full(size, packed((0, 0, 0)), np.int32)
    for number, folder in enumerate(folders):
        path = next((folder / f"{name}{end}" for end in _ENDS if (folder / f"{name}{end}").exists()), None)
        if path is not None:
            inside = binary_mask(path, None if labels is None else labels.shape)
            if labels is None:
                labels = np.full(inside.shape, packed((0, 0, 0)), np.int32)
            labels |= np.where(inside, np.int32(1 << number), np.int32(0))
    assert labels is not None, "a case has a mask"
    return labels


def _combinations(samples: Sequence[SampleFiles], folders: Sequence[Path]) -> list[int]:
    """Combinations that occur, fewest classes first; a damaged case is named when it is read."""
    found: set[int] = set()
    for sample in samples:
        try:
            found.update(map(int, np.unique(_bits(sample.id, folders, None))))
        except DataError:
            continue
    sets = {value - packed((0, 0, 0)) for value in found} - {0}
    return sorted(sets, key=lambda bits: (bits.bit_count(), [not bits >> n & 1 for n in range(MOST_FOLDERS)]))


def _with_classes(plan: SourcePlan, sets: Sequence[int], names: Sequence[str]) -> SourcePlan:
    """A plan with a class for each combination and a region for each folder."""
    members = [[n for n in range(len(names)) if bits >> n & 1] for bits in sets]
    classes = [SourceClass("background", packed((0, 0, 0)))]
    for bits, inside in zip(sets, members, strict=True):
        value = packed((bits >> 16 & 255, bits >> 8 & 255, bits & 255))
        classes.append(SourceClass("+".join(names[n] for n in inside), value))
    regions = tuple(
        Region(name, tuple(index for index, inside in enumerate(members, start=1) if n in inside))
        for n, name in enumerate(names)
    )
    overlap = sum(len(inside) > 1 for inside in members)
    note = (
        f"each folder of masks is a region that is learned; {overlap} of {len(sets)} classes are overlaps; "
        "'data: {regions: {}}' in a job learns the classes instead"
    )
    return replace(plan, classes=tuple(classes), regions=in_order(regions), notes=(note,))


def _name_problems(names: Sequence[str]) -> Iterator[str]:
    if len(names) > MOST_FOLDERS:
        yield f"masks: {len(names)} folders; allowed are {MOST_FOLDERS}; unite some of them"
    yield from (f"masks/{name}: {problem}" for name in names if (problem := name_problem(name)) is not None)


def _set_problems(sets: Sequence[int], names: Sequence[str]) -> Iterator[str]:
    if len(sets) >= IGNORE_INDEX:
        yield (
            f"masks: {len(sets)} combinations of classes occur; allowed are {IGNORE_INDEX - 1} beside the background; "
            "leave out classes or remove stray pixels where masks overlap"
        )
    for number, name in enumerate(names if sets else ()):
        if not any(bits >> number & 1 for bits in sets):
            yield f"masks/{name}: no mask has a pixel, so there is nothing to learn; remove the folder"
