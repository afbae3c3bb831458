"""Medical Segmentation Decathlon: ``dataset.json``, ``imagesTr/``, ``labelsTr/``.

Source: Antonelli et al. 2022, "The Medical Segmentation Decathlon", arXiv:2106.05735, and the ``dataset.json`` of its tasks.
Deviations: images without labels (``imagesTs``) are left out; nnU-Net's reversed ``labels`` (name to value) are read too, with
its regions (name to a list of values) and its ``ignore``; labels with a fourth axis hold 0 and 1 for each of the classes that
``label_channels.json`` names instead of ``labels``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from search_spaces.regions import Regions
from search_spaces.register import entry
from workers.errors import DataError
from workers.region_names import make_regions, region_problems
from workers.source import (
    VOLUME_AXES,
    Array,
    LeftOut,
    RawCase,
    SampleFiles,
    Source,
    SourceClass,
    SourcePlan,
    first_five,
)
from workers.source_files import CHANNELS_FILE, load_json, with_geometry, with_label_channels
from workers.source_pairs import duplicate_ids, is_file, read_volume_pair, read_volume_sets, real
from workers.volume_file import stem

DESCRIPTION = "dataset.json"
_IGNORED = "ignore"  # nnU-Net's name of voxels that do not count


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
        has_channels = (folder / CHANNELS_FILE).exists() and "labels" not in description
        classes, regions = (None, ()) if has_channels else _classes(description, path)
        plan = SourcePlan(
            name=str(description.get("name") or folder.name),
            samples=tuple(samples),
            axes=VOLUME_AXES,
            classes=classes,
            channels=_channels(description, path),
            licence=str(description.get("licence") or description.get("license") or ""),
            reference=str(description.get("reference") or ""),
            problems=tuple(problems + duplicate_ids(samples)),
            notes=(f"{len(unlabelled)} images without labels were left out",) if unlabelled else (),
            regions=regions,
        )
        return with_geometry(folder, with_label_channels(folder, plan))

    def read(self, sample: SampleFiles) -> RawCase:
        return read_volume_pair(sample)

    def read_sets(self, sample: SampleFiles) -> Array:
        return read_volume_sets(sample)


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


def _classes(description: dict[str, Any], path: Path) -> tuple[tuple[SourceClass, ...], Regions]:
    labels = description.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise DataError(f'{path}: expected "labels", such as {{"0": "background", "1": "organ"}}.')
    if any(isinstance(value, list) for value in labels.values()):
        return _unions(labels, path)
    classes = []
    for key, value in labels.items():
        if key.isdecimal():
            classes.append(SourceClass(str(value), _number(key, key, value, path)))
        else:
            classes.append(SourceClass(key, _number(value, key, value, path), ignored=key == _IGNORED))
    return tuple(sorted(classes, key=lambda item: item.value)), ()


def _unions(labels: dict[str, Any], path: Path) -> tuple[tuple[SourceClass, ...], Regions]:
    """Classes and regions where some names stand for lists of values: a value is named by all names that have it."""
    members: dict[str, list[int]] = {}
    for key, value in labels.items():
        listed = value if isinstance(value, list) else [value]
        members[key] = [_number(one, key, value, path) for one in listed]
    of_values: dict[int, list[str]] = {}
    for name, numbers in members.items():
        for number in numbers:
            of_values.setdefault(number, []).append(name)
    joined = {number: "+".join(names) for number, names in of_values.items()}
    shared = {name for name in joined.values() if list(joined.values()).count(name) > 1}
    classes = tuple(
        SourceClass(f"{name} {number}" if name in shared else name, number, ignored=name == _IGNORED)
        for number, name in sorted(joined.items())
    )
    kept = [item for item in classes if not item.ignored]
    wanted = {
        name: [item.name for item in kept if item.value in numbers]
        for name, numbers in members.items()
        if numbers != [0] and name != _IGNORED
    }
    names = [item.name for item in kept]
    for place, problem in region_problems(wanted, names):
        raise DataError(f"{path}: labels: {'.'.join(map(str, place))}: {problem}")
    return classes, make_regions(wanted, names)


def _number(given: Any, key: str, value: Any, path: Path) -> int:
    if isinstance(given, bool) or not str(given).isdecimal() or int(given) > 255:
        raise DataError(f"{path}: labels: {key!r}: {value!r} names no value from 0 to 255.")
    return int(given)


def _channels(description: dict[str, Any], path: Path) -> tuple[str, ...] | None:
    modality = description.get("modality") or description.get("channel_names")
    if modality is None:
        return None
    if not isinstance(modality, dict) or not all(key.isdecimal() for key in modality):
        raise DataError(f'{path}: expected "modality", such as {{"0": "MRI"}}.')
    return tuple(str(modality[key]) for key in sorted(modality, key=int))
