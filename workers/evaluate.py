"""The one evaluator: whole cases, in the voxels of the file, from integer counts; the same for search, proof and test."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from workers.contract import DataView
from workers.data.dataset import Case, Dataset
from workers.errors import DataError
from workers.inference import Network, case_scores
from workers.metrics import Confusion, confusion, summary_of_cases
from workers.preprocessing import Fitted, LabelArray, Prepared, prepare, restore


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Counts of a split.

    Attributes:
        ids: Cases in order.
        counts: (n, K, K) int64, one confusion matrix a case.
        class_names: Names of the K classes.
    """

    ids: tuple[str, ...]
    counts: Confusion
    class_names: tuple[str, ...]

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the whole set, from summed counts."""
        return summary_of_cases(self.counts, self.class_names)


def class_names(dataset: Dataset) -> tuple[str, ...]:
    """Names of the classes of a data set, by index."""
    return tuple(info.name for info in dataset.manifest.classes)


def predict_labels(network: Network, prepared: Prepared, view: DataView, *, num_classes: int) -> LabelArray:
    """Label map of one case in the voxels of its file."""
    return restore(prepared.undo, case_scores(network, prepared.image, view, num_classes=num_classes))


def evaluate(
    network: Network,
    pairs: Iterable[tuple[Case, Prepared]],
    view: DataView,
    *,
    names: tuple[str, ...],
    ignore_index: int,
) -> Evaluation:
    """Score a network on labelled cases.

    Args:
        network: In evaluation mode; windows to logits.
        pairs: Each case as stored and as prepared.
        view: Window size and reading of volumes.
        names: Class names.
        ignore_index: Label that never counts.
    """
    ids, counts = [], []
    with torch.inference_mode():
        for case, prepared in pairs:
            if case.labels is None:
                raise DataError(f"{case.id}: has no labels, so it cannot be scored.")
            predicted = predict_labels(network, prepared, view, num_classes=len(names))
            truth = np.asarray(case.labels)
            counts.append(confusion(truth, predicted, num_classes=len(names), ignore_index=ignore_index))
            ids.append(case.id)
    return Evaluation(tuple(ids), np.stack(counts), names)


def prepared_cases(dataset: Dataset, split: str, fitted: Fitted) -> list[tuple[Case, Prepared]]:
    """The labelled cases of a split with what the network sees of them."""
    cases = [dataset.case(id_) for id_ in dataset.ids(split)]
    return [(case, prepare(fitted, case)) for case in cases if case.labels is not None]
