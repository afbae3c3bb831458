"""Numbers about a data set, gathered case by case: intensities and spacing of training cases, labels of every split."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.data.manifest import IGNORE_INDEX, Statistics, rounded

PERCENTILES = (0.5, 99.5)
POOL_VALUES = 2**24  # values a channel kept for percentiles over all training cases
MAX_CASE_VALUES = 2**16


@dataclass(slots=True)
class IntensityMeter:
    """Mean, deviation, percentiles and spacing of the training cases; the order of the cases does not matter much
    (float64 sums, rounded to nine digits), and ingest adds them in the order of their ids.

    Attributes:
        num_cases: Training cases that will come; bounds the memory for percentiles.
    """

    num_cases: int
    _count: int = 0
    _mean: npt.NDArray[np.float64] | None = None
    _squares: npt.NDArray[np.float64] | None = None
    _pool: list[npt.NDArray[np.float32]] = field(default_factory=list)
    _spacings: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, image: npt.NDArray[Any], spacing: tuple[float, ...] | None) -> None:
        """Count one case.

        Source: Chan et al. 1979, "Updating formulae and a pairwise algorithm for computing sample variances", Eq. 2.1.
        """
        flat = image.reshape(image.shape[0], -1)
        count = flat.shape[1]
        mean = flat.mean(axis=1, dtype=np.float64)
        squares = flat.var(axis=1, dtype=np.float64) * count
        if self._mean is None or self._squares is None:
            self._count, self._mean, self._squares = count, mean, squares
        else:
            total = self._count + count
            delta = mean - self._mean
            self._squares = self._squares + squares + delta**2 * (self._count * count / total)
            self._mean = self._mean + delta * (count / total)
            self._count = total
        kept = min(MAX_CASE_VALUES, max(256, POOL_VALUES // max(1, self.num_cases)))
        step = -(-count // kept)
        self._pool.append(flat[:, ::step].astype(np.float32))
        if spacing is not None:
            self._spacings.append(spacing)

    def result(self) -> Statistics:
        """The numbers, rounded."""
        assert self._mean is not None and self._squares is not None, "no training case"
        low, high = np.percentile(np.concatenate(self._pool, axis=1), PERCENTILES, axis=1)
        median = np.median(np.asarray(self._spacings), axis=0) if self._spacings else None
        return Statistics(
            mean=_numbers(self._mean),
            std=_numbers(np.sqrt(self._squares / self._count)),
            low=_numbers(low),
            high=_numbers(high),
            median_spacing=None if median is None else _numbers(median),
        )


@dataclass(slots=True)
class SplitMeter:
    """What a split holds."""

    rows: int = 0
    groups: set[str] = field(default_factory=set)
    pixels: Counter[int] = field(default_factory=Counter)

    def add(self, labels: npt.NDArray[np.uint8], group: str) -> None:
        """Count one labelled case."""
        self.rows += 1
        self.groups.add(group)
        counts = np.bincount(labels.reshape(-1), minlength=IGNORE_INDEX + 1)
        self.pixels.update({int(label): int(counts[label]) for label in np.flatnonzero(counts)})


def _numbers(values: npt.NDArray[Any]) -> tuple[float, ...]:
    return tuple(rounded(float(value)) for value in values)
