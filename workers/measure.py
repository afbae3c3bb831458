"""Measures: metrics that need more than a confusion matrix, computed only where a job or a final table asks for them.

A measure turns each case into *facts*, an array whose shape depends on the number of classes alone, and the facts of any
number of cases into metrics. Facts are what processes hand over, so that a merge is a sort by case; wherever the metric allows,
they are integer counts. Definitions and conventions: docs/metrics.md.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from search_spaces.register import Entry, kinds, lookup
from workers.metrics import case_mean, defined, foreground, mean
from workers.preprocessing import FloatArray, LabelArray
from workers.regions import OUTSIDE

Better = Literal["more", "less"]
Facts = npt.NDArray[np.int64] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Compared:
    """One case: the truth and what a network says, in the voxels of the file.

    Attributes:
        truth: Class of each voxel, or ``ignore_index``, (*S).
        predicted: The network's class of each voxel, (*S).
        spacing: Size of a voxel along each axis, in mm; 1 for images, whose distances are then in pixels.
        class_names: Names of the K classes.
        ignore_index: Label of voxels that count nowhere.
        probabilities: Softmax of the network, (K, *S) float32; None unless a measure asks for it.
    """

    truth: LabelArray
    predicted: LabelArray
    spacing: tuple[float, ...]
    class_names: tuple[str, ...]
    ignore_index: int
    probabilities: FloatArray | None = None

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Where a voxel counts."""
        return np.asarray(self.truth != self.ignore_index)

    @property
    def diagonal(self) -> float:
        """Length of the diagonal of the case, in the unit of ``spacing``."""
        return math.hypot(*(n * step for n, step in zip(self.truth.shape, self.spacing, strict=True)))


class Measure(Entry, ABC):
    """Contract of a measure.

    Attributes:
        better: The metrics that it gives, each with whether more or less of it is better.
        pooled: Whether metrics of several cases come from the sum of their facts; then their means over cases, named
            ``case_METRIC``, are reported, too. Otherwise they are means over cases themselves.
        needs_probabilities: Whether it looks at probabilities.
        of_regions: Whether it tells something of one mask and what is outside of it, as regions are measured.
    """

    family: ClassVar[str] = "measure"
    folder: ClassVar[str] = "workers.measures"
    better: ClassVar[Mapping[str, Better]]
    pooled: ClassVar[bool] = True
    needs_probabilities: ClassVar[bool] = False
    of_regions: ClassVar[bool] = True

    def classes(self, class_names: Sequence[str]) -> list[int]:
        """Classes of which ``METRIC/CLASS`` stands beside each metric."""
        return foreground(class_names)

    @abstractmethod
    def of(self, case: Compared) -> Facts:
        """Facts of one case."""

    @abstractmethod
    def values(self, facts: Facts, class_names: Sequence[str]) -> dict[str, float]:
        """Metrics of some cases by name, NaN where they are 0/0.

        Shape:
            facts (n, ...): those of one case each.
        """


def measures(names: Iterable[str]) -> tuple[Measure, ...]:
    """Measures by name, each once, in order of name.

    Raises:
        UnknownKindError: No measure has a name.
    """
    found: list[Any] = [lookup(Measure, name) for name in sorted(set(names))]
    return tuple(one() for one in found)


def all_measures() -> tuple[Measure, ...]:
    """Every measure there is."""
    return measures(kinds(Measure))


def measure_names(metrics: Iterable[str]) -> tuple[str, ...]:
    """Names of the measures that give some metrics; a metric of the confusion matrix needs none."""
    asked = [metric.partition("/")[0] for metric in metrics]
    return tuple(one.kind for one in all_measures() if any(name in _bases(one) for name in asked))


def measured_metrics(names: Sequence[str], *, regions: bool = False) -> dict[str, Better]:
    """Every metric that a measure may give of such classes or regions, and whether more or less of it is better."""
    found: dict[str, Better] = {}
    for one in all_measures():
        if regions and not one.of_regions:
            continue
        each = names if regions else [names[k] for k in one.classes(names)]
        for metric, better in one.better.items():
            found |= {f"{metric}/{name}": better for name in each}
        found |= _bases(one)
    return found


def summary_of_facts(
    facts: Mapping[str, Facts], names: Sequence[str], *, regions: bool = False
) -> dict[str, float]:
    """Metrics of a set from the facts of its cases, by measure; those that are 0/0 are left out.

    Shape:
        facts (n, ...), or (n, R, ...) of regions, each of which is a problem of two classes.
    """
    values_of = _values_of_regions if regions else _values
    found: dict[str, float] = {}
    for one in measures(facts):
        found |= values_of(one, facts[one.kind], names)
        if one.pooled:
            each = [values_of(one, fact[None], names) for fact in facts[one.kind]]
            found |= {case_mean(name): mean(values[name] for values in each) for name in one.better}
    return defined(found)


def _values(one: Measure, facts: Facts, names: Sequence[str]) -> dict[str, float]:
    return one.values(facts, names)


def _values_of_regions(one: Measure, facts: Facts, names: Sequence[str]) -> dict[str, float]:
    """``METRIC/REGION`` of each region, and the mean over regions as ``METRIC``."""
    each = [one.values(facts[:, r], (OUTSIDE, name)) for r, name in enumerate(names)]
    named = {
        f"{metric}/{name}": values.get(f"{metric}/{name}", values[metric])
        for metric in one.better
        for name, values in zip(names, each, strict=True)
    }
    return {metric: mean(values[metric] for values in each) for metric in one.better} | named


def over_classes(
    name: str, values: Sequence[float], class_names: Sequence[str], classes: Collection[int]
) -> dict[str, float]:
    """``name/CLASS`` of some classes, and their mean as ``name``; NaN counts nowhere."""
    named = {f"{name}/{class_names[k]}": float(values[k]) for k in classes}
    return {name: mean(named.values()), **named}


def _bases(one: Measure) -> dict[str, Better]:
    means = {case_mean(name): better for name, better in one.better.items()} if one.pooled else {}
    return {**one.better, **means}
