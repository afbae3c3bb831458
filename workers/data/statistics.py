"""Numbers about a data set, gathered case by case: intensities and spacing of training cases, labels of every split."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.data.manifest import Statistics, rounded
from workers.levels import LEVELS, PERCENTILES, channel_counts, every, level_counts, moments

POOL_VALUES = 2**24  # values a channel kept for percentiles over all training cases
MAX_CASE_VALUES = 2**16
_LEVELS = np.arange(LEVELS)


@dataclass(frozen=True, slots=True)
class CaseIntensity:
    """What one training case adds to the statistics.

    Attributes:
        count: Pixels or voxels.
        mean, squares: Per channel; sum of squared distances from the mean.
        values: An even subsample, (C, values) float32; of uint8 how often each level occurs in it, (C, 256) int64.
        spacing: Voxel size in mm; None for images.
    """

    count: int
    mean: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]
    values: npt.NDArray[Any]
    spacing: tuple[float, ...] | None


def measured(image: npt.NDArray[Any], spacing: tuple[float, ...] | None, *, num_cases: int) -> CaseIntensity:
    """Measure one training case.

    Args:
        image: (C, *spatial).
        spacing: Voxel size in mm; None for images.
        num_cases: Training cases of the data set; bounds the memory for percentiles.
    """
    count = math.prod(image.shape[1:])
    kept = min(MAX_CASE_VALUES, max(256, POOL_VALUES // max(1, num_cases)))
    values = every(image, -(-count // kept))
    if image.dtype == np.uint8:  # counted, which is exact and fast
        counts = channel_counts(image)
        mean = counts @ _LEVELS / count
        squares = (counts * (_LEVELS - mean[:, None]) ** 2).sum(axis=1)
        return CaseIntensity(count, mean, squares, channel_counts(values), spacing)
    mean, squares = moments(image.reshape(image.shape[0], -1))
    return CaseIntensity(
        count=count,
        mean=mean,
        squares=squares,
        values=np.ascontiguousarray(values, dtype=np.float32),
        spacing=spacing,
    )


@dataclass(slots=True)
class IntensityMeter:
    """Mean, deviation, percentiles and spacing of the training cases; the order of the cases does not matter much
    (float64 sums, rounded to nine digits), and ingest adds them in the order of their ids.
    """

    _count: int = 0
    _mean: npt.NDArray[np.float64] | None = None
    _squares: npt.NDArray[np.float64] | None = None
    _pool: list[npt.NDArray[Any]] = field(default_factory=list)
    _spacings: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, case: CaseIntensity) -> None:
        """Count one case.

        Source: Chan et al. 1979, "Updating formulae and a pairwise algorithm for computing sample variances", Eq. 2.1.
        """
        count, mean, squares = case.count, case.mean, case.squares
        if self._mean is None or self._squares is None:
            self._count, self._mean, self._squares = count, mean, squares
        else:
            total = self._count + count
            delta = mean - self._mean
            self._squares = self._squares + squares + delta**2 * (self._count * count / total)
            self._mean = self._mean + delta * (count / total)
            self._count = total
        self._pool.append(case.values)
        if case.spacing is not None:
            self._spacings.append(case.spacing)

    def result(self) -> Statistics:
        """The numbers, rounded."""
        assert self._mean is not None and self._squares is not None, "no training case"
        low, high = percentiles(self._pool)
        median = np.median(np.asarray(self._spacings), axis=0) if self._spacings else None
        return Statistics(
            mean=_numbers(self._mean),
            std=_numbers(np.sqrt(self._squares / self._count)),
            low=_numbers(low),
            high=_numbers(high),
            median_spacing=None if median is None else _numbers(median),
        )


def percentiles(pool: Sequence[npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The two ``PERCENTILES`` of each channel, interpolated between values as ``np.percentile`` does.

    Args:
        pool: ``CaseIntensity.values`` of each case; where all are counts, none of them is sorted.
    """
    if any(values.dtype != np.int64 for values in pool):
        columns = [values if values.dtype != np.int64 else _listed(values) for values in pool]
        low, high = np.percentile(np.concatenate(columns, axis=1, dtype=np.float32), PERCENTILES, axis=1)
        return low, high
    below = np.cumsum(sum(pool), axis=1)
    found = []
    for share in PERCENTILES:
        place = share / 100 * (int(below[0, -1]) - 1)
        first = int(place)
        lower, upper = (
            np.array([np.searchsorted(channel, rank, side="right") for channel in below])
            for rank in (first, min(first + 1, int(below[0, -1]) - 1))
        )
        found.append(lower + (upper - lower) * (place - first))
    return found[0], found[1]


@dataclass(slots=True)
class SplitMeter:
    """What a split holds."""

    rows: int = 0
    groups: set[str] = field(default_factory=set)
    pixels: Counter[int] = field(default_factory=Counter)

    def add(self, pixels: Mapping[int, int], group: str) -> None:
        """Count one labelled case by its pixels of each label."""
        self.rows += 1
        self.groups.add(group)
        self.pixels.update(pixels)


def label_counts(labels: npt.NDArray[np.uint8]) -> dict[int, int]:
    """Pixels of each label that occurs."""
    counts = level_counts(labels)
    return {int(label): int(counts[label]) for label in np.flatnonzero(counts)}


def _listed(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Values that occur so often, (C, values)."""
    return np.stack([np.repeat(_LEVELS, channel) for channel in counts]).astype(np.float32)


def _numbers(values: npt.NDArray[Any]) -> tuple[float, ...]:
    return tuple(rounded(float(value)) for value in values)
