"""Medical Segmentation Decathlon: ``dataset.json``, ``imagesTr/``, ``labelsTr/``.

Source: Antonelli et al. 2022, "The Medical Segmentation Decathlon", arXiv:2106.05735, and the ``dataset.json`` of its tasks.
Deviations: images without labels (``imagesTs``) are left out; nnU-Net's reversed ``labels`` (name to value) are read too.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from search_spaces.register import entry
from workers.errors import DataError
from workers.source import (
    VOLUME_AXES,
    LeftOut,
    RawCase,
    SampleFiles,
    Source,
    SourceClass,
    SourcePlan,
    first_five,
)
from workers.source_files import load_json
from workers.source_pairs import duplicate_ids, is_file, read_volume_pair, real
from workers.volume_file import stem

DESCRIPTION = "dataset.json"


@entry("decathlon")
@dataclass(frozen=True, slots=True)
class Decathlon(Source):
    """A task folder of the Decathlon."""

    layout: ClassVar[str] = "dataset.json with imagesTr/ and labelsTr/ of NIfTI volumes"

    def recognise(self, folder: Path) -> bool:
        return (folder / DESCRIPTION).is_file() and (folder / "imagesTr").is_dir()

    def plan(self, folder: Path) -> SourcePlan:
        path = folder / DESCRIPTION
        description = load_json(path)
        if not isinstance(description, dict):
            raise DataError(f"{path}: expected an object, got {type(description).__name__}.")
        samples, problems = _samples(folder, description, path)
        unlabelled = description.get("test") or []
        return SourcePlan(
            name=str(description.get("name") or folder.name),
            samples=tuple(samples),
            axes=VOLUME_AXES,
            classes=_classes(description, path),
            channels=_channels(description, path),
            licence=str(description.get("licence") or description.get("license") or ""),
            reference=str(description.get("reference") or ""),
            problems=tuple(problems + duplicate_ids(samples)),
            notes=(f"{len(unlabelled)} images without labels were left out",) if unlabelled else (),
        )

    def read(self, sample: SampleFiles) -> RawCase:
        return read_volume_pair(sample)


def _samples(folder: Path, description: dict[str, Any], path: Path) -> tuple[list[SampleFiles], list[str]]:
    listed = description.get("training")
    if not isinstance(listed, list):
        raise DataError(f'{path}: expected "training", a list of objects with image and label.')
    samples: list[SampleFiles] = []
    missing: list[str] = []
    outside: list[str] = []
    for pair in listed:
        if not isinstance(pair, dict) or not {"image", "label"} <= pair.keys():
            raise DataError(f"{path}: training: expected objects with image and label, got {pair!r}.")
        image, labels = (folder / str(pair[name]) for name in ("image", "label"))
        strays = [file for file in (image, labels) if not real(file).is_relative_to(real(folder))]
        absent = [file for file in (image, labels) if file not in strays and not is_file(file)]
        outside += map(str, strays)
        missing += [file.relative_to(folder).as_posix() for file in absent]
        if not strays and not absent:
            samples.append(SampleFiles(stem(image), image, labels, stem(image)))
    problems: list[str] = []
    if missing:
        sentence = f"{DESCRIPTION}: {first_five('listed files are missing', missing)}"
        problems.append(LeftOut(sentence, missing))
    if outside:
        problems.append(f"{DESCRIPTION}: {first_five('listed files lie outside the folder', outside)}")
    return sorted(samples, key=lambda sample: sample.id), problems


def _classes(description: dict[str, Any], path: Path) -> tuple[SourceClass, ...]:
    labels = description.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise DataError(f'{path}: expected "labels", such as {{"0": "background", "1": "organ"}}.')
    classes = []
    for key, value in labels.items():
        number, name = (key, value) if key.isdecimal() else (value, key)
        if isinstance(number, bool) or not str(number).isdecimal() or int(number) > 255:
            raise DataError(f"{path}: labels: {key!r}: {value!r} names no value from 0 to 255.")
        classes.append(SourceClass(str(name), int(number)))
    return tuple(sorted(classes, key=lambda item: item.value))


def _channels(description: dict[str, Any], path: Path) -> tuple[str, ...] | None:
    modality = description.get("modality") or description.get("channel_names")
    if modality is None:
        return None
    if not isinstance(modality, dict) or not all(key.isdecimal() for key in modality):
        raise DataError(f'{path}: expected "modality", such as {{"0": "MRI"}}.')
    return tuple(str(modality[key]) for key in sorted(modality, key=int))
