"""Pictures beside their masks: ``images/`` and ``masks/``, whole or in ``train/``, ``val/``, ``test/``.

A mask has the name of its image, or that name followed by ``_mask``, ``_label`` or ``_seg``. Without a split in the folders
or a ``splits.json`` each picture is a group of its own, unless ``groups.json`` names patients or videos.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from search_spaces.register import entry
from workers.image_file import SUFFIXES, is_image
from workers.source import IMAGE_AXES, RawCase, SampleFiles, Source, SourcePlan
from workers.source_files import load_classes
from workers.source_pairs import duplicate_ids, index_files, pair_files
from workers.source_pictures import is_by_class, read_picture_pair

_IMAGES = ("images", "image", "imgs")
_MASKS = ("masks", "mask", "labels", "label", "annotations")
_MASK_ENDINGS = ("_mask", "_label", "_seg")
_OTHERS = (
    "objectInfo150.txt",
    "pairs*.csv",
    "masks/*.mat",
)  # signs of layouts that have images/ and masks/ too
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


@entry("image_masks")
@dataclass(frozen=True, slots=True)
class ImageMasks(Source):
    """PNG, JPEG or TIFF images with masks of class indices."""

    layout: ClassVar[str] = (
        "images/ and masks/ with PNG, JPEG or TIFF files of the same names, whole or within train/, val/, test/"
    )

    def recognise(self, folder: Path) -> bool:
        if any(any(folder.glob(pattern)) for pattern in _OTHERS) or is_by_class(folder):
            return False
        return any(any(map(is_image, images.iterdir())) for _, images, _ in _folders(folder))

    def plan(self, folder: Path) -> SourcePlan:
        samples: list[SampleFiles] = []
        problems: list[str] = []
        for split, images, masks in _folders(folder):
            image_files, first = index_files(images, SUFFIXES, _stem)
            mask_files, second = index_files(masks, SUFFIXES, _stem)
            named = {_image_stem(name, image_files): path for name, path in mask_files.items()}
            where = f"{split}: " if split else ""
            pairs, alone = pair_files(image_files, named, split=split, where=where)
            samples += pairs
            problems += first + second + alone
        return SourcePlan(
            name=folder.resolve().name,
            samples=tuple(sorted(samples, key=lambda sample: sample.id)),
            axes=IMAGE_AXES,
            classes=load_classes(folder),
            symmetries=("width",),
            problems=tuple(problems + duplicate_ids(samples)),
        )

    def read(self, sample: SampleFiles) -> RawCase:
        return read_picture_pair(sample)


def _folders(folder: Path) -> list[tuple[str | None, Path, Path]]:
    """Splits with their image and mask folders: ``images/``, ``train/images/`` or ``images/train/``."""
    whole = _pair(folder)
    inner = [name for name in sorted(_SPLITS) if (folder / name).is_dir()]
    found: list[tuple[str | None, Path, Path]] = []
    if whole is not None:
        images, masks = whole
        both = [name for name in sorted(_SPLITS) if (images / name).is_dir() and (masks / name).is_dir()]
        found += [(_SPLITS[name], images / name, masks / name) for name in both]
        return found or [(None, images, masks)]
    for name in inner:
        pair = _pair(folder / name)
        if pair is not None:
            found.append((_SPLITS[name], *pair))
    return found


def _pair(folder: Path) -> tuple[Path, Path] | None:
    images = next((folder / name for name in _IMAGES if (folder / name).is_dir()), None)
    masks = next((folder / name for name in _MASKS if (folder / name).is_dir()), None)
    return None if images is None or masks is None else (images, masks)


def _stem(path: Path) -> str:
    return path.stem


def _image_stem(mask: str, images: dict[str, Path]) -> str:
    if mask in images:
        return mask
    return next((mask.removesuffix(end) for end in _MASK_ENDINGS if mask.endswith(end)), mask)
