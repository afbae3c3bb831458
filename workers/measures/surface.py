"""Distances between surfaces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from search_spaces.register import entry
from workers.measure import Better, Compared, Facts, Measure, over_classes
from workers.metrics import foreground, mean

Mask = npt.NDArray[np.bool_]


@entry("surface")
@dataclass(frozen=True, slots=True)
class Surface(Measure):
    """``hd95`` and ``asd`` in the unit of the spacing, of each foreground class: means over cases, then over classes.

    Surface voxels are those of a mask with a face neighbour outside it; outside the image is outside. ``hd95`` is the larger of
    the two directed 95th percentiles (linear between order statistics), ``asd`` the mean over the distances of both directions
    together. A class that is in neither mask is 0/0 and counts nowhere; one that is in one of them only has the diagonal of the
    case, so that a missed or invented object costs the most instead of being dropped. Ignored voxels are in no mask.

    Source: Huttenlocher et al. 1993, "Comparing images using the Hausdorff distance"; Heimann et al. 2009, "Comparison and
        evaluation of methods for liver segmentation from CT datasets", section III (average symmetric surface distance).
    Deviations: each surface voxel weighs the same, whatever area it stands for.
    """

    better: ClassVar[Mapping[str, Better]] = {"hd95": "less", "asd": "less"}
    pooled: ClassVar[bool] = False

    def of(self, case: Compared) -> Facts:
        """(K, 2): hd95 and asd of each class."""
        facts = np.full((len(case.class_names), 2), np.nan)
        for k in foreground(case.class_names):
            truth, predicted = (case.truth == k) & case.valid, (case.predicted == k) & case.valid
            if truth.any() and predicted.any():
                there, back = surface_distances(truth, predicted, case.spacing)
                facts[k, 0] = max(np.percentile(there, 95), np.percentile(back, 95))
                facts[k, 1] = np.concatenate([there, back]).mean()
            elif truth.any() or predicted.any():
                facts[k] = case.diagonal
        return facts

    def values(self, facts: Facts, class_names: Sequence[str]) -> dict[str, float]:
        found: dict[str, float] = {}
        for column, name in enumerate(self.better):
            each = [mean(facts[:, k, column]) for k in range(len(class_names))]
            found |= over_classes(name, each, class_names, self.classes(class_names))
        return found


def surface_distances(
    one: Mask, other: Mask, spacing: tuple[float, ...]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Distances of each surface voxel of one mask to the nearest of the other, and the other way round."""
    box: Any = ndimage.find_objects((one | other).astype(np.int8))[0]
    surfaces = [mask[box] & ~ndimage.binary_erosion(mask[box]) for mask in (one, other)]
    away = [ndimage.distance_transform_edt(~surface, sampling=spacing) for surface in surfaces]
    return away[1][surfaces[0]], away[0][surfaces[1]]
