"""Arrays of bytes: how often each level occurs, each level turned into another, those of no known level.

Pillow's and Python's loops over bytes take a third of the time of numpy's ``bincount`` and of a table that is indexed, which
both turn every byte into a 64-bit number first.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

FloatArray = npt.NDArray[np.float32]

LEVELS = 256
PERCENTILES = (0.5, 99.5)
_MAX_LENGTH = 2**28  # of a row; Pillow refuses one of 2**29 with a MemoryError
_PART = 2**24  # values that are turned into double precision together


@dataclass(frozen=True, slots=True)
class CaseLevels:
    """What the intensity rules ask of a case, per channel, (C,) float32, so that all of it need not be read for them.

    Attributes:
        mean, std: Mean and deviation.
        low, high: ``PERCENTILES``.
    """

    mean: FloatArray
    std: FloatArray
    low: FloatArray
    high: FloatArray


def levels_of(pixels: npt.NDArray[Any]) -> CaseLevels:
    """The levels of a case (C, *S)."""
    return CaseLevels(*channel_moments(pixels), *channel_percentiles(pixels, *PERCENTILES))


def level_counts(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How often each of the 256 levels occurs."""
    flat = np.ascontiguousarray(values).reshape(-1)
    counts = np.zeros(LEVELS, np.int64)
    for start in range(0, len(flat), _MAX_LENGTH):
        part = flat[start : start + _MAX_LENGTH]
        # As pixels of four channels, whose counts do not wait for each other where a level follows itself.
        fours = len(part) // 4
        if fours:
            pixels = Image.frombuffer("RGBA", (fours, 1), part, "raw", "RGBA", 0, 1)
            counts += np.array(pixels.histogram()).reshape(4, LEVELS).sum(axis=0)
        counts += np.bincount(part[4 * fours :], minlength=LEVELS)
    return counts


def channel_counts(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How often each level occurs in each channel of (C, *S); (C, 256)."""
    if (
        len(image) == 3 and 0 < image.size < 3 * _MAX_LENGTH and image.strides[0] == 1
    ):  # as decoders leave a picture
        pixels = np.ascontiguousarray(np.moveaxis(image, 0, -1)).reshape(1, -1, 3)
        return np.array(Image.fromarray(pixels).histogram(), np.int64).reshape(3, LEVELS)
    return np.stack([level_counts(channel) for channel in image])


def channel_moments(pixels: npt.NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Mean and deviation of each channel of (C, *S) of any type, (C,), computed in double precision.

    Bytes are counted, which takes a tenth of the time. Their deviation is summed in another order: of 11,103 channels of
    photographs and noise none had another one in single precision.
    """
    if pixels.dtype == np.uint8:
        counts, levels = channel_counts(pixels), np.arange(LEVELS)
        size = counts.sum(axis=1)
        means = counts @ levels / size
        deviations = np.sqrt((counts * (levels - means[:, None]) ** 2).sum(axis=1) / size)
        return means.astype(np.float32), deviations.astype(np.float32)
    means, squares = moments(pixels.reshape(len(pixels), -1))
    return means.astype(np.float32), np.sqrt(squares / pixels[0].size).astype(np.float32)


def moments(
    flat: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean of each row of (C, pixels), and the sum of the squared distances from it, both (C,).

    Rows are read part by part, as an array of doubles of a large volume may not fit into memory.
    """
    step = max(1, _PART // len(flat))
    parts = [flat[:, start : start + step] for start in range(0, flat.shape[1], step)]
    means = sum(part.astype(np.float64).sum(axis=1) for part in parts) / flat.shape[1]
    squares = np.zeros(len(flat))
    for part in parts:
        away = part.astype(np.float64)
        away -= means[:, None]
        away *= away
        squares += away.sum(axis=1)
    return means, squares


def channel_percentiles(pixels: npt.NDArray[Any], low: float, high: float) -> tuple[FloatArray, FloatArray]:
    """Two percentiles of each channel of (C, *S), (C,)."""
    lows, highs = np.percentile(in_any_order(pixels), [low, high], axis=1, overwrite_input=True)
    return lows.astype(np.float32), highs.astype(np.float32)


def in_any_order(pixels: npt.NDArray[Any]) -> FloatArray:
    """The values of each channel of (C, *S), (C, pixels): bytes sorted, since they are counted faster than moved."""
    if pixels.dtype == np.uint8:
        levels = np.arange(LEVELS, dtype=np.float32)
        return np.stack([np.repeat(levels, counts) for counts in channel_counts(pixels)])
    return pixels.reshape(len(pixels), -1).astype(np.float32)


def every(image: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    """Each ``step``-th pixel of (C, *S) in C order, (C, pixels), without a copy of all of them where memory allows."""
    last = np.moveaxis(image, 0, -1)
    if last.flags.c_contiguous:
        return last.reshape(-1, len(image))[::step].T
    return image.reshape(len(image), -1)[:, ::step]


def translated(values: npt.NDArray[np.uint8], table: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A fresh array with each level replaced by its entry of a table of 256 bytes."""
    data = bytearray(np.ascontiguousarray(values)).translate(table.astype(np.uint8).tobytes())
    return np.frombuffer(data, np.uint8).reshape(values.shape)


def others(values: npt.NDArray[np.uint8], known: bytes) -> npt.NDArray[np.uint8]:
    """The values, in order, that are none of these."""
    return np.frombuffer(values.tobytes().translate(None, known), np.uint8)
