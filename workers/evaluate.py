"""The one evaluator: whole cases, in the voxels of the file, from integer counts; the same for search, proof and test."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch

from search_spaces.regions import Regions
from workers.contract import DataView
from workers.data.dataset import Dataset
from workers.errors import DataError
from workers.inference import Network, case_scores
from workers.measure import Compared, Facts, Measure, summary_of_facts
from workers.metrics import Confusion, confusion, foreground, summary_of_cases
from workers.preprocessing import (
    FloatArray,
    LabelArray,
    Masks,
    Prepared,
    restore,
    restore_mask_probabilities,
    restore_masks,
    restore_probabilities,
)
from workers.regions import OUTSIDE, hold_first_class, inside_regions


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Counts of a split.

    Attributes:
        ids: Cases in order.
        counts: (n, K, K) int64, one confusion matrix a case; of regions (n, R, 2, 2), rows are outside and inside.
        names: Of the K classes or R regions.
        facts: Facts (n, ...), of regions (n, R, ...), of further measures by name.
    """

    ids: tuple[str, ...]
    counts: Confusion
    names: tuple[str, ...]
    facts: Mapping[str, Facts] = field(default_factory=dict)

    @property
    def is_of_regions(self) -> bool:
        """Whether regions were scored, not classes."""
        return self.counts.ndim == 4

    @property
    def averaged(self) -> list[int]:
        """Which classes or regions ``dice`` is the mean of."""
        return list(range(len(self.names))) if self.is_of_regions else foreground(self.names)

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the whole set; those that are 0/0 are left out."""
        further = summary_of_facts(self.facts, self.names, regions=self.is_of_regions)
        return summary_of_cases(self.counts, self.names) | further

    @property
    def case_metrics(self) -> dict[str, dict[str, float]]:
        """Metrics of each case by its id."""
        return {id: self._only([row]).metrics for row, id in enumerate(self.ids)}

    def _only(self, rows: Sequence[int]) -> "Evaluation":
        facts = {name: fact[rows] for name, fact in self.facts.items()}
        return Evaluation(tuple(self.ids[row] for row in rows), self.counts[rows], self.names, facts)


def merge(parts: Sequence[Evaluation]) -> Evaluation:
    """One evaluation of cases that several processes scored: the same, whoever scored which and whoever is done first.

    Raises:
        DataError: A case was scored twice, or the parts hold other classes or measures.
    """
    names, kinds = parts[0].names, parts[0].facts.keys()
    if any(part.names != names or part.facts.keys() != kinds for part in parts):
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


def predict_masks(network: Network, prepared: Prepared, view: DataView) -> Masks:
    """Masks of the regions of a view in the voxels of a case's file, (R, *stored)."""
    scores = case_scores(network, prepared.image, view, num_classes=len(view.regions))
    return restore_masks(prepared.undo, scores, outside=hold_first_class(view.regions))


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
        view: Window size and reading of volumes; where it has regions, these are scored.
        names: Class names.
        ignore_index: Label that never counts.
        measures: What to measure beside the confusion matrix.
    """
    asked = any(one.needs_probabilities for one in measures)
    ids, counts = [], []
    facts: dict[str, list[Facts]] = {one.kind: [] for one in measures}
    with torch.inference_mode():
        for case in cases:
            if case.truth is None:
                raise DataError(f"{case.id}: has no labels, so it cannot be scored.")
            truth = np.asarray(case.truth)
            scores = case_scores(network, case.image, view, num_classes=view.num_outputs(len(names)))
            compared = _compared(case, truth, scores, view.regions, names, ignore_index, sure=asked)
            counts.append(_joined(map(_confusion, compared), view.regions))
            ids.append(case.id)
            for one in measures:
                facts[one.kind].append(_joined(map(one.of, compared), view.regions))
    stacked = {kind: cast(Facts, np.stack(rows)) for kind, rows in facts.items()}
    shown = tuple(region.name for region in view.regions) or names
    return Evaluation(tuple(ids), np.stack(counts), shown, stacked)


def _compared(
    case: Prepared,
    truth: LabelArray,
    scores: FloatArray,
    regions: Regions,
    names: tuple[str, ...],
    ignore_index: int,
    *,
    sure: bool,
) -> list[Compared]:
    """Truth and prediction of a case; of regions each as a problem of two classes. ``sure`` asks for probabilities."""
    spacing = case.stored_spacing or (1.0,) * truth.ndim
    if not regions:
        probabilities = restore_probabilities(case.undo, scores) if sure else None
        return [Compared(truth, restore(case.undo, scores), spacing, names, ignore_index, probabilities)]
    outside = hold_first_class(regions)
    masks = restore_masks(case.undo, scores, outside=outside).astype(np.uint8)
    inside = restore_mask_probabilities(case.undo, scores, outside=outside) if sure else None
    truths = inside_regions(truth, regions, ignore_index=ignore_index)
    return [
        Compared(
            truths[r],
            masks[r],
            spacing,
            (OUTSIDE, region.name),
            ignore_index,
            None if inside is None else np.stack((1 - inside[r], inside[r])),
        )
        for r, region in enumerate(regions)
    ]


def _confusion(case: Compared) -> Confusion:
    return confusion(
        case.truth, case.predicted, num_classes=len(case.class_names), ignore_index=case.ignore_index
    )


def _joined(found: Iterable[Facts], regions: Regions) -> Facts:
    """What was counted: of classes once, of regions once each, (R, ...)."""
    each = list(found)
    return cast(Facts, np.stack(each)) if regions else each[0]
