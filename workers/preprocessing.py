"""Apply a candidate's preprocessing to a case, and undo it in space.

``fit`` binds the choices to a data set (statistics of training cases only), ``prepare`` makes network input, ``restore``
brings class scores back to the voxels of the file. The same three serve training, evaluation, the proof and ``predict``.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

from search_spaces.candidate import from_json, to_json
from search_spaces.preprocessing import Percentile, Preprocessing, Window, ZScore
from workers.bricks import Bricks
from workers.data.dataset import Case
from workers.data.manifest import Manifest
from workers.errors import DataError
from workers.levels import PERCENTILES, CaseLevels, channel_moments, channel_percentiles
from workers.places import Places

FloatArray = npt.NDArray[np.float32]
LabelArray = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.bool_]
Value = TypeVar("Value", bound=np.generic)
Pixels = npt.NDArray[Any] | Bricks
"""An array, or one that is read window by window; ``np.asarray`` reads all of it."""

_PART = 2**22  # pixels whose arg max is taken together


@dataclass(frozen=True, slots=True)
class Fitted:
    """A ``Preprocessing`` with the numbers it needs from the training cases.

    Attributes:
        choices: What the candidate chose.
        mean, std: Per channel, over training cases; used by ``ZScore(scope="training")``.
        low, high: Percentiles 0.5 and 99.5 per channel over training cases; used by ``Percentile(scope="training")``.
        spacing: Median voxel size of the training cases in mm, stored axis order; None for images.
        channels: Number of image channels.
    """

    choices: Preprocessing
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    spacing: tuple[float, ...] | None
    channels: int

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {
            "choices": to_json(self.choices),
            "mean": list(self.mean),
            "std": list(self.std),
            "low": list(self.low),
            "high": list(self.high),
            "spacing": None if self.spacing is None else list(self.spacing),
            "channels": self.channels,
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Fitted":
        """Inverse of ``to_json``."""
        return Fitted(
            choices=from_json(Preprocessing, data["choices"]),
            mean=tuple(data["mean"]),
            std=tuple(data["std"]),
            low=tuple(data["low"]),
            high=tuple(data["high"]),
            spacing=None if data["spacing"] is None else tuple(data["spacing"]),
            channels=data["channels"],
        )


@dataclass(frozen=True, slots=True)
class Undo:
    """What ``restore`` needs to return to the geometry of the file.

    Attributes:
        stored_shape: Spatial size of the file.
        orientation: nibabel's (ndim, 2) array of axis and flip from stored to network axes; None when unchanged.
        turned_shape: Spatial size after turning.
        box: Slices of the crop in the turned image.
        prepared_shape: Spatial size that the network sees.
    """

    stored_shape: tuple[int, ...]
    orientation: npt.NDArray[np.float64] | None
    turned_shape: tuple[int, ...]
    box: tuple[slice, ...]
    prepared_shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scaling:
    """How intensities become network input, pixel by pixel: (clip(x, low, high) - shift) / scale, channel by channel.

    Attributes:
        shift, scale: (C,) float32.
        low, high: (C,) float32; infinite where nothing is clipped.
    """

    shift: FloatArray
    scale: FloatArray
    low: FloatArray
    high: FloatArray

    def __call__(self, pixels: npt.NDArray[Any], *, out: FloatArray | None = None) -> FloatArray:
        """Network input from pixels as stored or resampled, (C, *S) each; in ``out`` where it is given."""
        shift, scale, low, high = (
            values.reshape(-1, *[1] * (pixels.ndim - 1))
            for values in (self.shift, self.scale, self.low, self.high)
        )
        image = np.empty_like(pixels, np.float32) if out is None else out
        image[...] = pixels
        if np.isfinite(low).all():
            np.clip(image, low, high, out=image)
        image -= shift
        image /= scale
        return image


@dataclass(frozen=True, slots=True)
class Prepared:
    """A case as the network sees it, and what its scores are compared with.

    Attributes:
        pixels: Turned, cropped and resampled, intensities as in the file, (C, *S); maybe mapped from a file, so read only;
            a volume then reads the windows that are cut of it.
        scaling: Makes network input of any part of ``pixels``.
        labels: (*S) uint8, or None for an unlabelled case.
        undo: How to go back.
        spacing: Size of a voxel along each axis in mm; None for images.
        truth: Labels as stored, (*stored) uint8; None for an unlabelled case.
        stored_spacing: Size of a voxel along each stored axis in mm; None for images.
        foreground: Where the classes but the first are in ``labels``, see ``places_of_classes``; None where not prepared.
    """

    id: str
    pixels: Pixels
    scaling: Scaling
    labels: LabelArray | Bricks | None
    undo: Undo
    spacing: tuple[float, ...] | None = None
    truth: LabelArray | Bricks | None = None
    stored_spacing: tuple[float, ...] | None = None
    foreground: Places | None = None

    @property
    def image(self) -> FloatArray:
        """Network input of the whole case, (C, *S) float32; made anew at each call."""
        return self.scaling(np.asarray(self.pixels))


def fit(choices: Preprocessing, manifest: Manifest) -> Fitted:
    """Bind preprocessing choices to a data set; reads statistics of training cases only.

    Raises:
        DataError: Percentiles over training cases that were not measured when the data set was ingested.
    """
    match choices.intensity:
        case Percentile(low=low, high=high, scope="training") if (low, high) != PERCENTILES:
            raise DataError(
                f"preprocessing.intensity: low {low:g} and high {high:g} over training cases given; a data set holds "
                f"{PERCENTILES[0]:g} and {PERCENTILES[1]:g} only: take these, or scope image."
            )
    statistics = manifest.statistics
    return Fitted(
        choices=choices,
        mean=tuple(statistics.mean),
        std=tuple(statistics.std),
        low=tuple(statistics.low),
        high=tuple(statistics.high),
        spacing=None if statistics.median_spacing is None else tuple(statistics.median_spacing),
        channels=len(statistics.mean),
    )


def prepare(fitted: Fitted, case: Case) -> Prepared:
    """Turn, crop, resample and normalise one case.

    Raises:
        DataError: The case has another number of channels than the training cases.
    """
    image = np.asarray(case.image)
    if image.shape[0] != fitted.channels:
        raise DataError(
            f"{case.id}: has {image.shape[0]} channels; the network was made for {fitted.channels}."
        )
    labels = None if case.labels is None else np.asarray(case.labels)
    stored_shape = image.shape[1:]
    choices = fitted.choices

    orientation = _orientation(case) if choices.orientation == "ras" else None
    spacing = case.spacing
    if orientation is not None:
        image = np.stack([nib.orientations.apply_orientation(channel, orientation) for channel in image])
        labels = None if labels is None else nib.orientations.apply_orientation(labels, orientation)
        spacing = _turned(spacing, orientation)
    turned_shape = image.shape[1:]

    box = _nonzero_box(image) if choices.crop == "nonzero" else tuple(slice(0, n) for n in turned_shape)
    image = image[(slice(None), *box)]
    labels = None if labels is None else labels[box]

    if choices.spacing == "median" and fitted.spacing is not None and spacing is not None:
        target = fitted.spacing if orientation is None else _turned(fitted.spacing, orientation)
        shape = tuple(
            max(1, round(n * s / t))
            for n, s, t in zip(image.shape[1:], spacing, cast(Any, target), strict=True)
        )
        spacing = tuple(s * n / m for s, n, m in zip(spacing, image.shape[1:], shape, strict=True))
        if image.shape[1:] != shape:
            image = _resize(image.astype(np.float32), shape, order=1)
        labels = None if labels is None else _resize(labels[None], shape, order=0)[0]
    undo = Undo(tuple(stored_shape), orientation, tuple(turned_shape), box, image.shape[1:])
    return Prepared(
        case.id,
        np.ascontiguousarray(image),
        scaling_of(image, fitted),
        None if labels is None else np.ascontiguousarray(labels, dtype=np.uint8),
        undo,
        spacing,
        None if case.labels is None else np.asarray(case.labels),
        case.spacing,
    )


def scaling_of(pixels: Pixels, fitted: Fitted, known: CaseLevels | None = None) -> Scaling:
    """The scaling of a case, from statistics of the training cases or of the case itself, as the candidate chose.

    Args:
        pixels: Of the case, (C, *S); read only where ``known`` does not tell.
        fitted: The choices.
        known: Levels of the case, if they were measured before.
    """
    channels = pixels.shape[0]
    match fitted.choices.intensity:
        case ZScore(scope=scope):
            if scope == "training":
                mean, std = np.array(fitted.mean, np.float32), np.array(fitted.std, np.float32)
            elif known is not None:
                mean, std = known.mean, known.std
            else:
                mean, std = channel_moments(np.asarray(pixels))
            unbounded = np.full(channels, np.inf, np.float32)
            return Scaling(mean, np.maximum(std, np.float32(1e-6)), -unbounded, unbounded)
        case Percentile(low=low, high=high, scope=scope):
            if scope == "training":
                lows, highs = np.array(fitted.low, np.float32), np.array(fitted.high, np.float32)
            elif known is not None and (low, high) == PERCENTILES:
                lows, highs = known.low, known.high
            else:
                lows, highs = channel_percentiles(np.asarray(pixels), low, high)
        case Window(low=low, high=high):
            lows, highs = np.full(channels, low, np.float32), np.full(channels, high, np.float32)
    return Scaling(lows, np.maximum(highs - lows, np.float32(1e-6)), lows, highs)


def restore_probabilities(undo: Undo, scores: FloatArray) -> FloatArray:
    """Softmax in the voxels of the file from logits in the network's geometry; what the crop cut off is surely class 0.

    Logits are resampled as in ``restore``, so that the most probable class is its label.

    Shape:
        scores (K, *prepared); returns (K, *stored).
    """
    logits = _uncropped(undo, scores)
    found = np.exp(logits - logits.max(axis=0))
    found /= found.sum(axis=0)
    outside = np.zeros(len(found), np.float32)
    outside[0] = 1
    return _in_file(undo, found.astype(np.float32, copy=False), outside)


def restore_masks(undo: Undo, scores: FloatArray, *, outside: Masks) -> Masks:
    """Masks of regions in the voxels of the file, as ``restore`` makes labels: inside is where a logit is above 0.

    Args:
        undo: From ``prepare``.
        scores: A logit a region.
        outside: Whether what the crop cut off is inside, by region.

    Shape:
        scores (R, *prepared); outside (R,); returns (R, *stored).
    """
    return _in_file(undo, _uncropped(undo, scores) > 0, outside)


def restore_mask_probabilities(undo: Undo, scores: FloatArray, *, outside: Masks) -> FloatArray:
    """Probabilities of being inside each region; arguments and shapes as of ``restore_masks``."""
    found = special.expit(_uncropped(undo, scores))
    return _in_file(undo, found, outside.astype(np.float32))


def restore(undo: Undo, scores: FloatArray) -> LabelArray:
    """Labels in the voxels of the file from class scores in the network's geometry.

    Scores are resampled linearly before the arg max, so that borders stay smooth; what the crop cut off is class 0.

    Args:
        undo: From ``prepare``.
        scores: Logits or probabilities.

    Shape:
        scores (K, *prepared); returns (*stored) uint8.
    """
    cropped = _uncropped(undo, scores)
    labels = np.empty(cropped.shape[1:], np.uint8)
    step = max(1, _PART // math.prod(labels.shape[1:]))
    for start in range(0, len(labels), step):  # as the arg max of a large volume takes eight bytes a voxel
        labels[start : start + step] = cropped[:, start : start + step].argmax(axis=0)
    return cast(LabelArray, _in_file(undo, labels[None], np.zeros(1, np.uint8))[0])


def prepared_axes(orientation: npt.NDArray[np.float64] | None, axes: tuple[int, ...]) -> tuple[int, ...]:
    """Network axes of stored spatial axes."""
    if orientation is None:
        return axes
    return tuple(sorted(int(orientation[axis, 0]) for axis in axes))


def _orientation(case: Case) -> npt.NDArray[np.float64] | None:
    if case.affine is None or len(case.image.shape) != 4:
        return None
    orientation = nib.orientations.io_orientation(case.affine)
    if np.isnan(orientation).any():
        raise DataError(
            f"{case.id}: its affine has a zero axis, so its orientation is unknown; use orientation: stored."
        )
    return None if np.array_equal(orientation, _identity(3)) else orientation


def _identity(ndim: int) -> npt.NDArray[np.float64]:
    return np.array([[axis, 1] for axis in range(ndim)], dtype=np.float64)


def _turned(
    spacing: tuple[float, ...] | None, orientation: npt.NDArray[np.float64]
) -> tuple[float, ...] | None:
    if spacing is None:
        return None
    turned = [0.0] * len(spacing)
    for stored_axis, (network_axis, _) in enumerate(orientation):
        turned[int(network_axis)] = spacing[stored_axis]
    return tuple(turned)


def _nonzero_box(image: npt.NDArray[Any]) -> tuple[slice, ...]:
    seen = (image != 0).any(axis=0)
    if not seen.any():
        return tuple(slice(0, n) for n in seen.shape)
    box = []
    for axis in range(seen.ndim):
        others = tuple(a for a in range(seen.ndim) if a != axis)
        where = np.flatnonzero(seen.any(axis=others))
        box.append(slice(int(where[0]), int(where[-1]) + 1))
    return tuple(box)


def _uncropped(undo: Undo, scores: FloatArray) -> FloatArray:
    """Scores resampled to the voxels of the crop."""
    return _resize(scores, tuple(part.stop - part.start for part in undo.box), order=1)


def _in_file(undo: Undo, values: npt.NDArray[Value], outside: npt.NDArray[Value]) -> npt.NDArray[Value]:
    """Maps of the crop in the voxels of the file; what the crop cut off has one value a map.

    Shape:
        values (M, *cropped); outside (M,); returns (M, *stored).
    """
    if values.shape[1:] != undo.turned_shape:
        whole = np.empty((len(values), *undo.turned_shape), values.dtype)
        whole[:] = outside.reshape(-1, *[1] * len(undo.turned_shape))
        whole[(slice(None), *undo.box)] = values
        values = whole
    if undo.orientation is not None:
        back = nib.orientations.ornt_transform(_identity(len(undo.stored_shape)), undo.orientation)
        values = np.stack([nib.orientations.apply_orientation(one, back) for one in values])
    return np.ascontiguousarray(values)


def _resize(array: npt.NDArray[Any], shape: tuple[int, ...], *, order: int) -> npt.NDArray[Any]:
    if array.shape[1:] == shape:
        return array
    factors = (1.0, *(new / old for new, old in zip(shape, array.shape[1:], strict=True)))
    zoom: Any = ndimage.zoom  # its stubs do not know arrays of any type
    return cast(npt.NDArray[Any], zoom(array, factors, order=order, mode="nearest", grid_mode=True))
