"""Pictures with a mask for each class, which may overlap: several labels a pixel.

    images/NAME.png, masks/CLASS/NAME.png

A mask has 0 and one other value; where a folder of ``masks/`` has no mask of an image, the class is not in it. The classes
of the data set are the combinations that occur, such as ``cell+nucleus``, beside a background of none; each folder is a region,
the union of its combinations, which a search learns by default. Without a ``splits.json`` each picture is drawn by itself,
unless ``groups.json`` names patients or videos.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from search_spaces.register import entry
from workers.image_file import SUFFIXES, decode_image
from workers.source import IMAGE_AXES, Array, LeftOut, RawCase, SampleFiles, Source, SourcePlan, first_five
from workers.source_pairs import index_files, shown
from workers.source_pictures import binary_mask, class_folders, is_by_class, picture_case
from workers.source_sets import from_kept, name_problems, set_labels

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
        problems += name_problems(names, "masks")
        return SourcePlan(
            name=folder.resolve().name,
            samples=tuple(samples),
            axes=IMAGE_AXES,
            symmetries=("width",),
            problems=tuple(problems),
            sets=tuple(names),
        )

    def read(self, sample: SampleFiles) -> RawCase:
        data = sample.image.read_bytes()
        image = decode_image(data, where=shown(sample.image))
        labels = None if sample.known is None else from_kept(sample.known)
        if labels is None or labels.shape != image.shape[1:]:  # the mask of another size is named
            labels = _bits(sample.id, class_folders(sample.labels), image.shape[1:])
        return picture_case(image, labels, data=data)

    def read_sets(self, sample: SampleFiles) -> Array:
        return _bits(sample.id, class_folders(sample.labels), None)


def _bits(name: str, folders: Sequence[Path], size: tuple[int, ...] | None) -> Array:
    """A bit a pixel for each folder whose mask it is in; masks have this or one size.

    Raises:
        DataError: A mask is damaged, no binary mask, or of another size.
    """
    inside: dict[int, Array] = {}
    for number, folder in enumerate(folders):
        path = next((folder / f"{name}{end}" for end in _ENDS if (folder / f"{name}{end}").exists()), None)
        if path is not None:
            inside[number] = binary_mask(path, size)
            size = inside[number].shape
    assert size is not None, "a case has a mask"
    return set_labels(inside, num_sets=len(folders), shape=size)
