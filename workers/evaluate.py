"""The one evaluator: whole cases, in the voxels of the file, from integer counts; the same for search, proof and test."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch

from workers.contract import DataView
from workers.data.dataset import Dataset
from workers.errors import DataError
from workers.inference import Network, case_scores
from workers.measure import Compared, Facts, Measure, summary_of_facts
from workers.metrics import Confusion, confusion, summary_of_cases
from workers.preprocessing import (
    LabelArray,
    Prepared,
    restore,
    restore_probabilities,
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Counts of a split.

    Attributes:
        ids: Cases in order.
        counts: (n, K, K) int64, one confusion matrix a case.
        class_names: Names of the K classes.
        facts: Facts (n, ...) of further measures by name.
    """

    ids: tuple[str, ...]
    counts: Confusion
    class_names: tuple[str, ...]
    facts: Mapping[str, Facts] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the whole set; those that are 0/0 are left out."""
        return summary_of_cases(self.counts, self.class_names) | summary_of_facts(
            self.facts, self.class_names
        )

    @property
    def case_metrics(self) -> dict[str, dict[str, float]]:
        """Metrics of each case by its id."""
        return {id: self._only([row]).metrics for row, id in enumerate(self.ids)}

    def _only(self, rows: Sequence[int]) -> "Evaluation":
        facts = {name: fact[rows] for name, fact in self.facts.items()}
        return Evaluation(tuple(self.ids[row] for row in rows), self.counts[rows], self.class_names, facts)


def merge(parts: Sequence[Evaluation]) -> Evaluation:
    """One evaluation of cases that several processes scored: the same, whoever scored which and whoever is done first.

    Raises:
        DataError: A case was scored twice, or the parts hold other classes or measures.
    """
    names, kinds = parts[0].class_names, parts[0].facts.keys()
    if any(part.class_names != names or part.facts.keys() != kinds for part in parts):
        raise DataError("evaluations of other classes or measures cannot be merged; score all cases alike.")
    ids = [id for part in parts for id in part.ids]
    twice = sorted(id for id, count in Counter(ids).items() if count > 1)
    if twice:
        raise DataError(f"{', '.join(twice[:5])}: scored more than once; give each case to one process.")
    whole = Evaluation(
        tuple(ids),
        np.concatenate([part.counts for part in parts]),
        names,
        {kind: np.concatenate([part.facts[kind] for part in parts]) for kind in kinds},
    )
    return whole._only(sorted(range(len(ids)), key=ids.__getitem__))


def class_names(dataset: Dataset) -> tuple[str, ...]:
    """Names of the classes of a data set, by index."""
    return tuple(info.name for info in dataset.manifest.classes)


def predict_labels(network: Network, prepared: Prepared, view: DataView, *, num_classes: int) -> LabelArray:
    """Label map of one case in the voxels of its file."""
    return restore(prepared.undo, case_scores(network, prepared.image, view, num_classes=num_classes))


def evaluate(
    network: Network,
    cases: Iterable[Prepared],
    view: DataView,
    *,
    names: tuple[str, ...],
    ignore_index: int,
    measures: Sequence[Measure] = (),
) -> Evaluation:
    """Score a network on labelled cases.

    Args:
        network: In evaluation mode; windows to logits.
        cases: Prepared and labelled.
        view: Window size and reading of volumes.
        names: Class names.
        ignore_index: Label that never counts.
        measures: What to measure beside the confusion matrix.
    """
    ids, counts = [], []
    facts: dict[str, list[Facts]] = {one.kind: [] for one in measures}
    with torch.inference_mode():
        for case in cases:
            truth = case.truth
            if truth is None:
                raise DataError(f"{case.id}: has no labels, so it cannot be scored.")
            scores = case_scores(network, case.image, view, num_classes=len(names))
            predicted = restore(case.undo, scores)
            counts.append(confusion(truth, predicted, num_classes=len(names), ignore_index=ignore_index))
            ids.append(case.id)
            asked = any(one.needs_probabilities for one in measures)
            compared = Compared(
                truth,
                predicted,
                case.stored_spacing or (1.0,) * truth.ndim,
                names,
                ignore_index,
                restore_probabilities(case.undo, scores) if asked else None,
            )
            for one in measures:
                facts[one.kind].append(one.of(compared))
    stacked = {kind: cast(Facts, np.stack(rows)) for kind, rows in facts.items()}
    return Evaluation(tuple(ids), np.stack(counts), names, stacked)
