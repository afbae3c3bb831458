"""DICOM: a folder a case with the slices of one CT, MR or PET series and one segmentation object (SEG) of it.

    CASE/*.dcm, CASE/SEG/*.dcm      any file names, ending in .dcm, in digits (a UID) or in nothing; both may share a folder

Source: DICOM PS3.3 2024, C.8.20 (segmentation) and C.7.6.16 (functional groups).
Deviations: positions turn from LPS to RAS+. Segments of one label are one class. Classes that overlap are refused.
Overlays are left out. Needs the package pydicom: ``pip install 'segsearch[dicom]'``.

Identity: ``group`` is a short SHA-256 of the patient's id. No name, id, date or UID of a header enters the data set; names of
case folders do, and names of files in problems. Whoever knows the ids can compute the groups again: they are pseudonyms.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from search_spaces.register import entry
from workers.data.manifest import IGNORE_INDEX
from workers.dicom_file import (
    TOLERANCE,
    Grid,
    check_series,
    has_magic,
    intensities,
    load,
    numbers,
    open_pydicom,
    ordered,
    pixels,
    plane,
    sop_class,
)
from workers.errors import DataError
from workers.quiet import quiet
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
from workers.source_pairs import shown

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
SLICES = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.128",
)  # CT, MR, PET
_DEPTHS = ("*", "*/*", "*/*/*")


@entry("dicom_series")
@dataclass(frozen=True, slots=True)
class DicomSeries(Source):
    """DICOM series with segmentation objects."""

    layout: ClassVar[str] = (
        "a folder a case with the DICOM slices of one CT, MR or PET series, and its one DICOM SEG file there or below"
    )

    def recognise(self, folder: Path) -> bool:
        return any(has_magic(path) for case in _case_folders(folder) for path in _candidates(case))

    # pydicom warns of odd but readable headers and quotes them: a patient's name could be in one.
    @quiet(Warning)
    def plan(self, folder: Path) -> SourcePlan:
        open_pydicom()
        found: dict[str, tuple[SampleFiles, tuple[str, ...]]] = {}
        problems: list[str] = []
        bare, modalities, num_others = [], set(), 0
        for case in _case_folders(folder):
            try:
                slices, segments, others = _files_by_class(case)
                num_others += len(others)
                if slices and not segments:
                    bare.append(case.name)
                elif slices or segments:
                    sample, modality, labels = _sample(case, slices, segments)
                    found[case.name] = (sample, labels)
                    modalities.add(modality)
            except DataError as error:
                problems.append(LeftOut(f"{case.name}: {error}".rstrip("."), [case.name]))
        if bare:
            problems.append(LeftOut(first_five("cases have slices but no SEG file", bare), bare))
        usual = Counter(labels for _, labels in found.values()).most_common(1)
        names = usual[0][0] if usual else ()
        for id, (_, labels) in found.items():
            if labels != names:
                sentence = f"{id}: segments {_listed(labels)}; most cases have {_listed(names)}: describe the same in each"
                problems.append(LeftOut(sentence, [id]))
        others_note = (
            f"{num_others} DICOM files that are neither CT, MR, PET nor SEG were left out"
            if num_others
            else ""
        )
        return SourcePlan(
            name=folder.resolve().name,
            samples=tuple(found[id][0] for id in sorted(found) if found[id][1] == names),
            axes=VOLUME_AXES,
            classes=tuple(SourceClass(name, value) for value, name in enumerate(("background", *names))),
            channels=tuple(modalities) if len(modalities) == 1 else None,
            problems=tuple(problems),
            notes=tuple(
                filter(None, (others_note, "groups are hashed patient ids, or the case's folder without one"))
            ),
        )

    @quiet(Warning)
    def read(self, sample: SampleFiles) -> RawCase:
        where = sample.image.parent.name
        parts = [
            (path, load(path))
            for path in sorted(_named(sample.image.parent.iterdir()))
            if path != sample.labels and sop_class(path) in SLICES
        ]
        check_series(parts, where)
        parts, grid = ordered(parts, where)
        seg = load(sample.labels)
        referenced = {item.get("SeriesInstanceUID") for item in seg.get("ReferencedSeriesSequence") or ()}
        if referenced and parts[0][1].get("SeriesInstanceUID") not in referenced:
            raise DataError(
                f"{shown(sample.labels)}: refers to another series than that of {where}; put it beside its own."
            )
        steps = grid.steps * np.array([[-1.0], [-1.0], [1.0]])  # LPS to RAS+
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = steps, grid.origin * (-1.0, -1.0, 1.0)
        spacing = tuple(float(size) for size in np.linalg.norm(steps, axis=0))
        return RawCase(
            intensities(parts)[None],
            _label_volume(seg, grid, shown(sample.labels)),
            spacing=spacing,
            affine=affine,
            notes=_notes([part for _, part in parts], grid),
        )

    def num_bytes(self, sample: SampleFiles) -> int:
        files = {*_named(sample.image.parent.iterdir()), sample.labels}  # both may share a folder
        return sum(path.stat().st_size for path in files)


def _case_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _candidates(case: Path) -> Iterator[Path]:
    """Files of a case, up to two folders deep, that are named as DICOM files are."""
    return (path for depth in _DEPTHS for path in _named(case.glob(depth)))


def _named(paths: Iterator[Path]) -> Iterator[Path]:
    for path in paths:
        ending = path.suffix.lower()
        if (
            (ending in ("", ".dcm") or ending[1:].isdigit())
            and not path.name.startswith(".")
            and path.name != "DICOMDIR"
            and path.is_file()
        ):
            yield path


def _files_by_class(case: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Slices, segmentations and other DICOM files of a case."""
    kinds: tuple[list[Path], list[Path], list[Path]] = ([], [], [])
    for path in sorted(_candidates(case)):
        found = sop_class(path)
        kinds[0 if found in SLICES else 1 if found == SEG else 2].append(path)
    return kinds


def _sample(case: Path, slices: list[Path], segments: list[Path]) -> tuple[SampleFiles, str, tuple[str, ...]]:
    """A case, its modality and the labels of its segments, sorted."""
    folders = {path.parent for path in slices}
    if len(folders) != 1 or len(segments) != 1:
        raise DataError(
            f"slices in {len(folders)} folders and {len(segments)} SEG files; allowed is one series and one SEG file."
        )
    first = load(slices[0], pixels=False)
    patient = str(first.get("PatientID") or "").strip()
    digest = hashlib.sha256(f"segsearch-patient-1\0{patient}".encode()).hexdigest()
    group = f"patient-{digest[:16]}" if patient else case.name
    labels = _segment_labels(load(segments[0], pixels=False), shown(segments[0]))
    names = tuple(sorted(set(labels.values())))
    return SampleFiles(case.name, slices[0], segments[0], group), str(first.get("Modality") or "image"), names


def _segment_labels(seg: Any, where: str) -> dict[int, str]:
    """Label of each segment number."""
    if seg.get("SegmentationType") != "BINARY":
        raise DataError(
            f"{where}: a {seg.get('SegmentationType')} segmentation; allowed is BINARY; cut it at a threshold."
        )
    labels = {
        int(item.SegmentNumber): str(item.get("SegmentLabel") or "").strip()
        for item in seg.get("SegmentSequence") or ()
        if item.get("SegmentNumber") is not None
    }
    if not labels or not all(labels.values()) or len(set(labels.values())) >= IGNORE_INDEX:
        raise DataError(
            f"{where}: {len(labels)} segments; allowed are 1 to {IGNORE_INDEX - 1}, each with a label."
        )
    return labels


def _label_volume(seg: Any, grid: Grid, where: str) -> Array:
    """Class of each voxel (X, Y, Z): 0, or 1 and up in the order of the labels."""
    labels = _segment_labels(seg, where)
    values = {name: value for value, name in enumerate(sorted(set(labels.values())), start=1)}
    masks = pixels(seg, where).reshape(-1, int(seg.Rows), int(seg.Columns)) > 0
    frames = list(seg.get("PerFrameFunctionalGroupsSequence") or ())
    shared: Any = next(iter(seg.get("SharedFunctionalGroupsSequence") or ()), {})
    if len(frames) != len(masks):
        raise DataError(f"{where}: {len(masks)} frames, {len(frames)} of them described; replace it.")
    volume = np.zeros(grid.size, np.uint8)
    num_twice = 0
    for frame, mask in zip(frames, masks, strict=True):
        number = _group(frame, shared, "SegmentIdentificationSequence").get("ReferencedSegmentNumber")
        if number not in labels:
            raise DataError(f"{where}: a frame of segment {number}, which is not described; replace it.")
        target = volume[:, :, _slice_of(frame, shared, mask.shape, grid, where)]
        value = values[labels[number]]
        num_twice += int(np.count_nonzero((target[mask.T] != 0) & (target[mask.T] != value)))
        target[mask.T] = value
    if num_twice:
        raise DataError(
            f"{where}: segments overlap in {num_twice} voxels; a voxel has one class; write them without overlap."
        )
    return volume


def _slice_of(frame: Any, shared: Any, shape: tuple[int, ...], grid: Grid, where: str) -> int:
    """Index of the slice that a frame covers voxel by voxel."""
    place = numbers(_group(frame, shared, "PlanePositionSequence"), "ImagePositionPatient", 3, where)
    directions = numbers(
        _group(frame, shared, "PlaneOrientationSequence"), "ImageOrientationPatient", 6, where
    )
    spacing = numbers(_group(frame, shared, "PixelMeasuresSequence"), "PixelSpacing", 2, where)
    own = plane(directions, spacing)
    off = grid.voxel(place)
    index = round(float(off[2]))
    far = np.linalg.solve(grid.steps, (own - grid.steps[:, :2]) * grid.size[:2])  # of the corners, in voxels
    if (
        shape != (grid.size[1], grid.size[0])
        or np.abs(far).max() > TOLERANCE
        or np.abs(off - (0, 0, index)).max() > TOLERANCE
        or not 0 <= index < grid.size[2]
    ):
        there = Grid(np.column_stack([own, grid.steps[:, 2]]), place, (shape[1], shape[0], 1))
        raise DataError(
            f"{where}: a frame of {there}; the image has {grid}; resample the SEG to the image's grid."
        )
    return index


def _group(frame: Any, shared: Any, keyword: str) -> Any:
    """A functional group of a frame, its own or that of all frames."""
    return next((item for given in (frame, shared) for item in given.get(keyword) or ()), {})


def _notes(parts: Sequence[Any], grid: Grid) -> tuple[str, ...]:
    notes = []
    if any(tag.group & 0xFF00 == 0x6000 for part in parts for tag in part.keys()):  # noqa: SIM118  # items are elements
        notes.append("overlays were left out")
    if any(part.get("BurnedInAnnotation") == "YES" for part in parts):
        notes.append("annotations that are burnt into the pixels stay in them")
    drift = grid.steps[:, 2] @ grid.steps[:, :2] / (grid.steps[:, :2] ** 2).sum(axis=0)  # pixels a slice
    if np.abs(drift).max() * grid.size[2] > 1:
        notes.append("slices are shifted sideways, as of a tilted gantry; only the affine tells")
    return tuple(notes)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
