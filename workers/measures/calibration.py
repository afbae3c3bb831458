"""How far probabilities can be believed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from search_spaces.register import entry
from workers.measure import Better, Compared, Facts, Measure

UNIT = 2**20  # probabilities are counted in millionths, so that sums are exact in any order


@entry("calibration")
@dataclass(frozen=True, slots=True)
class Calibration(Measure):
    """``ece``: mean distance between confidence and the share that is right, over voxels in bins of equal confidence.

    ``ece`` looks at the class that the network names and its probability; ``ece/CLASS`` at the probability of that class and
    whether the voxel has it. Bins are (0, 1/M], (1/M, 2/M], ...; an empty bin counts nothing, no voxel at all is 0/0.

    Attributes:
        bins: Number of bins M; 15 in the paper.

    Source: Guo et al. 2017, "On calibration of modern neural networks", Eq. 3, arXiv:1706.04599; one class at a time: Nixon et
        al. 2019, "Measuring calibration in deep learning", section 3, arXiv:1904.01685.
    Deviations: probabilities are rounded to 2^-20 for the sums, which changes the error by less than 5e-7.
    """

    bins: int = 15
    better: ClassVar[Mapping[str, Better]] = {"ece": "less"}
    needs_probabilities: ClassVar[bool] = True

    def of(self, case: Compared) -> Facts:
        """(1 + K, M, 3): of the named class, then of each class: by bin the voxels, those right, their confidence in 2^-20."""
        assert case.probabilities is not None
        valid = case.valid
        truth, probabilities = case.truth[valid], case.probabilities[:, valid]
        named = probabilities.argmax(axis=0)
        parts = [self._bins(probabilities.max(axis=0), named == truth)]
        parts += [self._bins(probability, truth == k) for k, probability in enumerate(probabilities)]
        return np.stack(parts)

    def _bins(
        self, confidence: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.int64]:
        place = np.clip(
            np.ceil(confidence.astype(np.float64) * self.bins).astype(np.int64) - 1, 0, self.bins - 1
        )
        counted = np.rint(confidence.astype(np.float64) * UNIT)
        columns: list[Any] = [None, right, counted]
        found = [np.bincount(place, weights=weights, minlength=self.bins) for weights in columns]
        return np.stack(found, axis=-1).astype(np.int64)

    def classes(self, class_names: Sequence[str]) -> list[int]:
        return list(range(len(class_names)))

    def values(self, facts: Facts, class_names: Sequence[str]) -> dict[str, float]:
        errors = [_error(part) for part in facts.sum(axis=0)]
        return {
            "ece": errors[0],
            **{f"ece/{name}": errors[1 + k] for k, name in enumerate(class_names)},
        }


def _error(bins: npt.NDArray[Any]) -> float:
    total = int(bins[:, 0].sum())
    if total == 0:
        return math.nan
    return math.fsum(abs(int(right) - int(sure) / UNIT) for _, right, sure in bins) / total
