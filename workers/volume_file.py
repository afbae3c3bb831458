"""Volumes in NIfTI files: voxels, spacing and affine, nothing guessed."""

import errno
import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from workers.errors import DataError

Array = npt.NDArray[Any]

SUFFIXES = (".nii.gz", ".nii")
MAX_BYTES = 2**31  # as the header declares it; a larger volume has to be cut before
MAX_PADDING = 4096  # bytes after the voxels; more is a header that says too little
_MOST_GAIN = 1032  # of deflate: a file that declares more than this times its size is damaged
_FLAT = 1e-3  # volume of a voxel over that of a box with its edges, below which the axes lie in a plane
_STORED = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    zlib.error,
)  # what nibabel's readers raise beside its own


@dataclass(frozen=True, slots=True)
class Volume:
    """A NIfTI image.

    Attributes:
        image: (C, X, Y, Z) in the axis order of the file; an own scale of the file is applied.
        spacing: Voxel size in mm along X, Y, Z.
        affine: From voxel to world in mm (RAS+), (4, 4).
        is_placed: The header states the affine; else nibabel made one of the voxel size.
    """

    image: Array
    spacing: tuple[float, ...]
    affine: npt.NDArray[np.float64]
    is_placed: bool


def is_volume(path: Path) -> bool:
    """Whether a file is named like a NIfTI volume."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def read_volume(path: Path, *, where: str | None = None) -> Volume:
    """Read a 3D volume, or a 4D one whose last axis are channels.

    64-bit types become float32 or int32 where their values fit; other types stay.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        where: Its name, for messages; None takes the path.

    Raises:
        DataError: Damaged, not 3D or 4D, of an element type without an order, or without a voxel size or an affine that
            maps a volume.
    """
    import nibabel as nib  # takes a third of a second, for which pictures need not wait

    where = where or str(path)
    damaged = (
        *_DAMAGED,
        nib.filebasedimages.ImageFileError,
        nib.spatialimages.HeaderDataError,
        nib.wrapstruct.WrapStructError,
    )
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            holder = nib.fileholders.FileHolder(fileobj=file)
            image = nib.nifti1.Nifti1Image.from_file_map({"header": holder, "image": holder})
            _check_size(image, path, where)
            values = np.asanyarray(image.dataobj)
            _check_end(file, image, where)
        zooms = image.header.get_zooms()
    except damaged as error:
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            raise MemoryError from None  # of the map of a file
        what = " ".join(str(error).split())
        raise DataError(f"{where}: cannot be read as NIfTI ({what}); replace it.") from None
    if values.ndim not in (3, 4) or 0 in values.shape:
        raise DataError(
            f"{where}: of shape {values.shape}; allowed is (X, Y, Z), or (X, Y, Z, C) with channels; convert it first."
        )
    spacing = tuple(float(zoom) for zoom in zooms[:3])
    if not all(np.isfinite(zoom) and zoom > 0 for zoom in spacing):
        raise DataError(
            f"{where}: voxel size {spacing} mm; allowed are positive numbers; correct its header."
        )
    voxels = values[None] if values.ndim == 3 else np.moveaxis(values, -1, 0)
    affine = np.asarray(image.affine, dtype=np.float64)
    if not _maps_volume(affine):
        raise DataError(f"{where}: an affine that maps no volume, {affine[:3].tolist()}; correct its header.")
    is_placed = bool(image.header["sform_code"] or image.header["qform_code"])
    return Volume(np.ascontiguousarray(_stored_type(voxels, where)), spacing, affine, is_placed)


def _maps_volume(affine: npt.NDArray[np.float64]) -> bool:
    """Whether the axes of a finite affine span a volume, without the library of linear algebra: it asks for 32 MiB at once."""
    x, y, z = affine[:3, :3].T
    edges = float(np.prod([np.sqrt((axis**2).sum()) for axis in (x, y, z)]))
    return (
        bool(np.isfinite(affine).all())
        and edges > 0
        and abs(float((np.cross(x, y) * z).sum())) > _FLAT * edges
    )


def _check_size(image: Any, path: Path, where: str) -> None:
    """Refuse a header that declares too much before memory is asked for."""
    declared, size = math.prod(image.shape) * image.get_data_dtype().itemsize, path.stat().st_size
    if declared > MAX_BYTES:
        raise DataError(
            f"{where}: {declared:,} bytes of voxels; the limit for one case is {MAX_BYTES:,}; cut it first."
        )
    if declared > size * (_MOST_GAIN if path.name.lower().endswith(".gz") else 1):
        raise DataError(
            f"{where}: cannot be read as NIfTI ({size:,} bytes, which cannot hold the {declared:,} of its voxels); replace it."
        )


def _check_end(file: gzip.GzipFile | BinaryIO, image: Any, where: str) -> None:
    """Read what follows the voxels: gzip tells at its end only whether what it gave is what was packed."""
    declared = math.prod(image.shape) * image.get_data_dtype().itemsize
    file.seek(image.dataobj.offset + declared)
    if len(file.read(MAX_PADDING + 1)) > MAX_PADDING:
        raise DataError(
            f"{where}: more than {MAX_PADDING:,} bytes follow the {declared:,} of its voxels; correct its header or replace it."
        )


def declared_voxel_bytes(path: Path) -> int:
    """Bytes of the voxels of a NIfTI file, as its header declares them.

    Raises:
        DataError: It has no such header.
    """
    import nibabel as nib

    try:
        image = nib.nifti1.Nifti1Image.from_filename(path)
        return math.prod(image.shape) * int(image.get_data_dtype().itemsize)
    except (
        *_DAMAGED,
        nib.filebasedimages.ImageFileError,
        nib.spatialimages.HeaderDataError,
        nib.wrapstruct.WrapStructError,
    ):
        raise DataError(f"{path}: cannot be read as NIfTI; replace it.") from None


def whole_labels(values: Array, *, where: str) -> npt.NDArray[np.integer[Any]]:
    """Label values of any number type as whole numbers, in bytes where they fit: eight times less memory.

    Raises:
        DataError: Some are not whole.
    """
    if np.issubdtype(values.dtype, np.floating):
        broken = int(np.count_nonzero(~(np.isfinite(values) & (values == np.round(values)))))
        if broken:
            raise DataError(f"{where}: {broken} labels are not whole numbers; write class indices.")
    fits = values.min() >= 0 and values.max() <= np.iinfo(np.uint8).max
    return values.astype(np.uint8 if fits else np.int64, copy=False)


def stem(path: Path) -> str:
    """File name without ``.nii`` or ``.nii.gz``."""
    name = path.name
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def _stored_type(voxels: Array, where: str) -> Array:
    name = voxels.dtype.newbyteorder("=").name
    if name in _STORED:
        return voxels.astype(name, copy=False)
    if name in ("float64", "float16"):
        return voxels.astype(np.float32)
    if name in ("int64", "uint64") and voxels.max() < 2**31 and voxels.min() >= -(2**31):
        return voxels.astype(np.int32)
    raise DataError(f"{where}: voxels of type {name}; allowed are whole numbers up to 32 bit and floats.")
