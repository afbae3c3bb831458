"""DICOM files of one series: headers, pixels and the grid that the slices make. The only door to the package pydicom.

Source: DICOM PS3.3 2024, C.7.6.2 (image plane) and C.11.1 (modality LUT).
Deviations: slices follow their positions, never their instance numbers. Overlays and padding values are not looked at.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.errors import DataError
from workers.source import Array
from workers.source_pairs import shown

TOLERANCE = 0.1  # of a voxel, for places; positions are decimal text that scanners round
UNEVEN = 0.02  # of the mean slice distance
_MAGIC, _MAGIC_AT = b"DICM", 128
_DAMAGED = (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, RuntimeError)
Vector = npt.NDArray[np.float64]
Part = tuple[Path, Any]  # a file and its data set, which pydicom types loosely


@dataclass(frozen=True, slots=True)
class Grid:
    """Where voxels lie, in mm of the patient (LPS).

    Attributes:
        steps: (3, 3), one column for each axis x, y, z: from a voxel to the next.
        origin: Centre of the first voxel.
        size: Voxels along x, y, z.
    """

    steps: Vector
    origin: Vector
    size: tuple[int, int, int]

    def voxel(self, place: Vector) -> Vector:
        """Voxel indices, with fractions, of a place (3,) or of places (3, N)."""
        away = (place.T - self.origin).T
        return np.asarray(np.linalg.solve(self.steps, away), np.float64)

    def __str__(self) -> str:
        size = " x ".join(map(str, self.size))
        spacing = " x ".join(f"{length:.4g}" for length in np.linalg.norm(self.steps, axis=0))
        axes = self.steps / np.linalg.norm(self.steps, axis=0)
        along = " and ".join(str(tuple(round(float(part), 3) for part in axes[:, axis])) for axis in (0, 1))
        return f"{size} voxels of {spacing} mm from {tuple(round(float(part), 3) for part in self.origin)} along {along}"


def open_pydicom(module: str = "pydicom") -> Any:
    """A module of the optional package.

    Raises:
        DataError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise DataError(
            "source dicom_series: the package pydicom is not installed; run pip install 'segsearch[dicom]'."
        ) from None


def has_magic(path: Path) -> bool:
    """Whether a file bears the mark of DICOM."""
    with path.open("rb") as file:
        file.seek(_MAGIC_AT)
        return file.read(len(_MAGIC)) == _MAGIC


def sop_class(path: Path) -> str:
    """What kind of object a file holds, from its first bytes.

    Raises:
        DataError: No DICOM file, or pydicom is missing.
    """
    reader = open_pydicom("pydicom.filereader")
    try:
        if not has_magic(path):
            raise ValueError("without the mark of a DICOM file")
        return str(reader.read_file_meta_info(path).MediaStorageSOPClassUID)
    except _DAMAGED as error:
        raise DataError(
            f"{shown(path)}: cannot be read as DICOM ({error}); replace it, or move it out of the case."
        ) from None


def load(path: Path, *, pixels: bool = True) -> Any:
    """A data set of pydicom.

    Raises:
        DataError: It is damaged, or pydicom is missing.
    """
    pydicom = open_pydicom()
    try:
        part = pydicom.dcmread(path, stop_before_pixels=not pixels)
    except (*_DAMAGED, pydicom.errors.InvalidDicomError) as error:
        raise DataError(
            f"{shown(path)}: cannot be read as DICOM ({type(error).__name__}); replace it."
        ) from None
    if pixels and "PixelData" not in part:
        raise DataError(f"{shown(path)}: ends before its pixels; replace it.")
    return part


def check_series(parts: Sequence[Part], where: str) -> None:
    """Refuse what is not one series of grey slices of one size.

    Raises:
        DataError: It is not.
    """
    num_series = len({part.get("SeriesInstanceUID") for _, part in parts})
    if num_series != 1:
        raise DataError(f"{where}: slices of {num_series} series; allowed is one; give each its own folder.")
    if len(parts) < 2:
        raise DataError(f"{where}: one slice; a volume has two or more; leave the case out.")
    for path, part in parts:
        if part.get("SamplesPerPixel") != 1 or int(part.get("NumberOfFrames") or 1) != 1:
            raise DataError(f"{shown(path)}: colours or several frames; allowed is one grey frame a file.")
        if "ModalityLUTSequence" in part:
            raise DataError(f"{shown(path)}: a modality table; allowed are rescale slope and intercept.")
        if (part.get("Rows"), part.get("Columns")) != (parts[0][1].get("Rows"), parts[0][1].get("Columns")):
            raise DataError(f"{shown(path)}: another size than {parts[0][0].name}; give all slices the same.")


def numbers(part: Any, keyword: str, count: int, where: str) -> Vector:
    """Values of an element that must be there.

    Raises:
        DataError: It is missing, or has another count of numbers.
    """
    given = _given(part, keyword, where)
    if len(given) != count or not np.isfinite(given).all():
        raise DataError(
            f"{where}: {keyword} with {len(given)} numbers; expected {count}; correct its header."
        )
    return given


def plane(directions: Vector, spacing: Vector) -> Vector:
    """Steps along x (a column further) and y (a row further), (3, 2); spacing is between rows, then between columns."""
    return np.stack([directions[:3] * spacing[1], directions[3:] * spacing[0]], axis=1)


def ordered(parts: Sequence[Part], where: str) -> tuple[list[Part], Grid]:
    """Slices along their normal, and their grid.

    Raises:
        DataError: They are not parallel, lie at uneven distances, or do not say where they lie.
    """
    planes = np.stack(
        [
            plane(
                numbers(part, "ImageOrientationPatient", 6, shown(path)),
                numbers(part, "PixelSpacing", 2, shown(path)),
            )
            for path, part in parts
        ]
    )
    size = (int(parts[0][1].Columns), int(parts[0][1].Rows), len(parts))
    if (np.abs(planes - planes[0]) * size[:2]).max() > TOLERANCE * np.linalg.norm(planes[0], axis=0).min():
        raise DataError(
            f"{where}: slices of different orientation or pixel spacing; allowed is one stack; move the others out."
        )
    places = np.stack([numbers(part, "ImagePositionPatient", 3, shown(path)) for path, part in parts])
    normal = np.cross(planes[0][:, 0], planes[0][:, 1])
    if not np.linalg.norm(normal):
        raise DataError(f"{where}: pixels without a size or direction; correct the headers.")
    heights = places @ (normal / np.linalg.norm(normal))
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    if gaps.min() <= 0 or np.abs(gaps - gaps.mean()).max() > UNEVEN * gaps.mean():
        raise DataError(
            f"{where}: slice distances from {gaps.min():.4g} to {gaps.max():.4g} mm; allowed is one distance; add the slices "
            "that are missing or remove those twice there."
        )
    step = (places[order[-1]] - places[order[0]]) / (len(parts) - 1)
    grid = Grid(np.column_stack([planes[0], step]), places[order[0]], size)
    off = grid.voxel(places[order].T).T - np.arange(len(parts))[:, None] * (0, 0, 1)
    if np.abs(off).max() > TOLERANCE:
        raise DataError(
            f"{where}: slices do not lie in one line; allowed is one straight stack; move the others out."
        )
    return [parts[index] for index in order], grid


def pixels(part: Any, where: str) -> Array:
    """Stored values of a data set, decoded.

    Raises:
        DataError: They are damaged, or of a transfer syntax that pydicom cannot decode here.
    """
    try:
        values: Array = part.pixel_array
    except _DAMAGED as error:
        syntax = getattr(part.file_meta.get("TransferSyntaxUID"), "name", "unknown")
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{where}: pixels of transfer syntax {syntax} cannot be decoded ({reason}); replace the file, or save it "
            "uncompressed."
        ) from None
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def intensities(parts: Sequence[Part]) -> Array:
    """Voxels (X, Y, Z) after rescaling: of the stored type where nothing is rescaled, of int16 or uint16 where whole slopes and
    intercepts give values that fit, else float32."""
    volume = np.stack([pixels(part, shown(path)).T for path, part in parts], axis=2)
    slopes = np.array([_factor(path, part, "RescaleSlope", 1.0) for path, part in parts])
    intercepts = np.array([_factor(path, part, "RescaleIntercept", 0.0) for path, part in parts])
    if (slopes == 1).all() and (intercepts == 0).all():
        return np.ascontiguousarray(volume)
    rescaled = volume * slopes + intercepts
    if (slopes == np.round(slopes)).all() and (intercepts == np.round(intercepts)).all():
        for kind in (np.int16, np.uint16):
            if np.iinfo(kind).min <= rescaled.min() and rescaled.max() <= np.iinfo(kind).max:
                return np.ascontiguousarray(rescaled.astype(kind))
    return np.ascontiguousarray(rescaled.astype(np.float32))


def _factor(path: Path, part: Any, keyword: str, default: float) -> float:
    where = shown(path)
    return float(numbers(part, keyword, 1, where)[0]) if _given(part, keyword, where).size else default


def _given(part: Any, keyword: str, where: str) -> Vector:
    """Numbers of an element, which pydicom parses only now; none where it is missing or empty."""
    try:
        value = part.get(keyword)
        return np.ravel(np.array([] if value in (None, "") else value, np.float64))
    except _DAMAGED:
        raise DataError(f"{where}: {keyword} is no number; correct its header.") from None
