"""How well an image is cut into the right pieces: membranes between cells."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from search_spaces.register import entry
from workers.components import Numbers, components
from workers.measure import Better, Compared, Facts, Measure
from workers.metrics import mean

BORDERS = (
    "membrane",
    "border",
    "boundary",
    "edge",
    "background",
)  # first that a data set has is between the pieces


@entry("partition")
@dataclass(frozen=True, slots=True)
class Partition(Measure):
    """``v_rand`` and ``v_info``, with their parts ``_split`` (fewer when one piece is cut into several) and ``_merge``.

    Pieces hang together by faces within a class; the class between them is the one called membrane, border, boundary or
    edge, else background, else the first. Only voxels of true pieces count; a voxel that is predicted as border there belongs
    to the nearest predicted piece, as boundaries have no width. A case without a true piece is 0/0; one without a predicted
    piece is one piece. The metrics of a set are means over cases, since pieces of two cases cannot meet.

    Source: Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image segmentation algorithms for connectomics", Eq.
        1-8 with alpha = 1/2, doi:10.3389/fnana.2015.00142.
    Deviations: at the class that the network names instead of the best of all thresholds; borders are removed by taking
        the nearest piece instead of thinning them to a line; a volume is cut in 3D, not slice by slice.
    """

    better: ClassVar[Mapping[str, Better]] = {
        "v_rand": "more",
        "v_rand_split": "more",
        "v_rand_merge": "more",
        "v_info": "more",
        "v_info_split": "more",
        "v_info_merge": "more",
    }
    pooled: ClassVar[bool] = False
    of_regions: ClassVar[bool] = False  # pieces of an image do not overlap

    def of(self, case: Compared) -> Facts:
        """(6,): the metrics of the case."""
        between = border_class(case.class_names)
        true, _ = components(case.truth, without=(between, case.ignore_index))
        seen = true > 0
        if not seen.any():
            return np.full(len(self.better), np.nan)
        predicted = grown(components(case.predicted, without=(between,))[0], case.spacing)
        return np.array(
            [*rand_scores(true[seen], predicted[seen]), *info_scores(true[seen], predicted[seen])]
        )

    def classes(self, class_names: Sequence[str]) -> list[int]:
        return []

    def values(self, facts: Facts, class_names: Sequence[str]) -> dict[str, float]:
        return {name: mean(facts[:, column]) for column, name in enumerate(self.better)}


def border_class(class_names: Sequence[str]) -> int:
    """The class that lies between pieces."""
    lower = [name.lower() for name in class_names]
    return next((lower.index(name) for name in BORDERS if name in lower), 0)


def grown(numbers: Numbers, spacing: tuple[float, ...]) -> Numbers:
    """Each voxel with the number of the nearest piece; all 0 where there is none."""
    if not numbers.any():
        return numbers
    nearest = ndimage.distance_transform_edt(
        numbers == 0, sampling=spacing, return_distances=False, return_indices=True
    )
    return np.asarray(numbers[tuple(nearest)])


def rand_scores(true: Numbers, predicted: Numbers) -> tuple[float, float, float]:
    """V_Rand, its split and its merge score of two numberings of the same voxels (Eq. 3-5)."""
    both, of_true, of_predicted = _squares(true, predicted)
    return 2 * both / (of_true + of_predicted), both / of_true, both / of_predicted


def info_scores(true: Numbers, predicted: Numbers) -> tuple[float, float, float]:
    """V_Info, its split and its merge score (Eq. 6-8). An entropy of 0, one piece, is fully known: its score is 1."""
    h_true, h_predicted, h_both = (_entropy(counts) for counts in _counts(true, predicted))
    shared = max(0.0, h_true + h_predicted - h_both)
    split = shared / h_predicted if h_predicted else 1.0
    merge = shared / h_true if h_true else 1.0
    whole = 2 * shared / (h_true + h_predicted) if h_true + h_predicted else 1.0
    return whole, split, merge


def _squares(true: Numbers, predicted: Numbers) -> tuple[int, int, int]:
    of_true, of_predicted, both = (
        sum(int(count) ** 2 for count in counts) for counts in _counts(true, predicted)
    )
    return both, of_true, of_predicted


def _counts(true: Numbers, predicted: Numbers) -> tuple[npt.NDArray[np.int64], ...]:
    """Voxels of each true piece, each predicted piece, and each pair that meets."""
    pairs = true.astype(np.int64) * (int(predicted.max()) + 1) + predicted
    arrays = (true, predicted, pairs)
    return tuple(np.unique(array, return_counts=True)[1].astype(np.int64) for array in arrays)


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    total = int(counts.sum())
    return -math.fsum(int(n) / total * math.log(int(n) / total) for n in counts)
