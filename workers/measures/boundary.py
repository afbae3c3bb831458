"""Boundary F1."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from search_spaces.register import entry
from workers.measure import Better, Compared, Facts, Measure, over_classes
from workers.metrics import foreground

Mask = npt.NDArray[np.bool_]


@entry("boundary")
@dataclass(frozen=True, slots=True)
class Boundary(Measure):
    """``boundary_f1`` of each foreground class: how much of the two boundaries lies near the other one.

    Boundary pixels are those of a mask with a valid face neighbour of another class; the edge of the image and the border of an
    ignored area are no boundary. Precision is the share of predicted boundary pixels within the tolerance of a true one, recall
    the other way round; both come from counts summed over cases. No boundary in either is 0/0; one in only one of them is 0.

    Attributes:
        tolerance: Distance that is near, as a share of the diagonal of the case; at least the smallest side of a voxel.

    Source: Csurka et al. 2013, "What is a good evaluation measure for semantic segmentation?", section 3; the tolerance of
        0.75 % is theirs.
    Deviations: counts are summed over the set, as all our metrics, and the paper's mean over images stands beside as
        ``case_boundary_f1``; distances in mm where the voxel size is known.
    """

    tolerance: float = 0.0075
    better: ClassVar[Mapping[str, Better]] = {"boundary_f1": "more"}

    def of(self, case: Compared) -> Facts:
        """(K, 4): of each class the boundary pixels predicted, those of them that are near, the true ones, those near."""
        facts = np.zeros((len(case.class_names), 4), np.int64)
        near = max(self.tolerance * case.diagonal, min(case.spacing))
        for k in foreground(case.class_names):
            found, true = (boundary(labels == k, case.valid) for labels in (case.predicted, case.truth))
            facts[k] = (
                found.sum(),
                num_near(found, true, near, case.spacing),
                true.sum(),
                num_near(true, found, near, case.spacing),
            )
        return facts

    def values(self, facts: Facts, class_names: Sequence[str]) -> dict[str, float]:
        scores = [f1(*(int(count) for count in counts)) for counts in facts.sum(axis=0)]
        return over_classes("boundary_f1", scores, class_names, self.classes(class_names))


def boundary(mask: Mask, valid: Mask) -> Mask:
    """Valid pixels of a mask that have a valid face neighbour outside it."""
    found = np.zeros(mask.shape, np.bool_)
    for axis in range(mask.ndim):
        first = (slice(None),) * axis + (slice(None, -1),)
        second = (slice(None),) * axis + (slice(1, None),)
        change = (mask[first] != mask[second]) & valid[first] & valid[second]
        found[first] |= change
        found[second] |= change
    return found & mask


def num_near(points: Mask, others: Mask, near: float, spacing: tuple[float, ...]) -> int:
    """How many points have one of the others within a distance."""
    if not points.any() or not others.any():
        return 0
    box = ndimage.find_objects((points | others).astype(np.int8))[0]
    distances = ndimage.distance_transform_edt(~others[box], sampling=spacing)[points[box]]
    return int((distances <= near * (1 + 1e-9)).sum())


def f1(predicted: int, right: int, true: int, met: int) -> float:
    """2 P R / (P + R) with P = right / predicted and R = met / true; 0 where one has none, NaN where both have none."""
    if predicted == 0 and true == 0:
        return math.nan
    if right == 0 or met == 0:
        return 0.0
    precision, recall = right / predicted, met / true
    return 2 * precision * recall / (precision + recall)
