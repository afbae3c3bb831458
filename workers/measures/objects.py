"""Objects found, missed and invented."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import ndimage

from search_spaces.register import entry
from workers.measure import Better, Compared, Facts, Measure, over_classes
from workers.metrics import foreground


@entry("objects")
@dataclass(frozen=True, slots=True)
class Objects(Measure):
    """``object_f1``, ``object_precision`` and ``object_recall`` of each foreground class, from counts summed over cases.

    An object is what hangs together by faces within a class. A predicted one is right where it and a true one overlap by
    more than half of their union; then no other object can, so that no assignment is needed. 0/0 as for pixels.

    Source: Caicedo et al. 2019, "Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl", methods;
        the matching above one half is proved in Kirillov et al. 2019, "Panoptic segmentation", section 4.1, arXiv:1801.00868.
    Deviations: one threshold, 0.5, instead of a mean over several; objects come from a map of classes, so that nuclei
        that touch in the labels are one.
    """

    better: ClassVar[Mapping[str, Better]] = {
        "object_f1": "more",
        "object_precision": "more",
        "object_recall": "more",
    }

    def of(self, case: Compared) -> Facts:
        """(K, 3): of each class the objects found, invented, missed."""
        facts = np.zeros((len(case.class_names), 3), np.int64)
        for k in foreground(case.class_names):
            true, num_true = ndimage.label((case.truth == k) & case.valid)
            predicted, num_predicted = ndimage.label((case.predicted == k) & case.valid)
            table = overlaps(true, predicted)
            sizes, others = table.sum(axis=1, keepdims=True), table.sum(axis=0, keepdims=True)
            shared = table[1:, 1:]
            found = int((2 * shared > sizes[1:] + others[:, 1:] - shared).sum())
            facts[k] = found, num_predicted - found, num_true - found
        return facts

    def values(self, facts: Facts, class_names: Sequence[str]) -> dict[str, float]:
        counts = [(int(found), int(invented), int(missed)) for found, invented, missed in facts.sum(axis=0)]
        scores = {
            "object_f1": [
                ratio(2 * found, 2 * found + invented + missed) for found, invented, missed in counts
            ],
            "object_precision": [ratio(found, found + invented) for found, invented, _ in counts],
            "object_recall": [ratio(found, found + missed) for found, _, missed in counts],
        }
        parts = [over_classes(name, scores[name], class_names, self.classes(class_names)) for name in scores]
        return {name: value for part in parts for name, value in part.items()}


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pixels of each pair of numbers from 0, (numbers of one, numbers of the other) int64."""
    shape = int(one.max(initial=0)) + 1, int(other.max(initial=0)) + 1
    pairs = one.ravel().astype(np.int64) * shape[1] + other.ravel()
    return np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)


def ratio(part: int, whole: int) -> float:
    """A share; 0/0 is NaN."""
    return part / whole if whole else math.nan
