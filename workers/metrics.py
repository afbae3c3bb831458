"""Scores from integer counts: a confusion matrix a case, summed over the set, never averaged over batches.

0/0 (a class that is neither present nor predicted) is NaN in arrays and absent from dictionaries: it counts nowhere.
What needs more than these counts is a measure (``workers/measure.py``). Definitions: docs/metrics.md.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Confusion = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

_PART = 2**22  # pixels that are counted together, in 8 bytes each


def confusion(
    truth: npt.NDArray[np.uint8], predicted: npt.NDArray[np.uint8], *, num_classes: int, ignore_index: int
) -> Confusion:
    """Counts of (true class, predicted class); ignored pixels count nowhere.

    Shape:
        truth and predicted alike, any shape; returns (K, K) int64, rows are the truth.
    """
    counts = np.zeros(num_classes * num_classes, np.int64)
    truth, predicted = truth.reshape(-1), predicted.reshape(-1)
    for start in range(0, len(truth), _PART):
        true, found = truth[start : start + _PART], predicted[start : start + _PART]
        valid = true != ignore_index
        pairs = true[valid].astype(np.int64) * num_classes + found[valid]
        counts += np.bincount(pairs, minlength=len(counts))
    return counts.reshape(num_classes, num_classes)


def dice_per_class(counts: Confusion) -> Scores:
    """2 TP / (2 TP + FP + FN) of each class, in [0, 1] or NaN (survey eq. 10, there called a loss).

    Shape:
        counts (..., K, K); returns (..., K).
    """
    hits, truth, predicted = _margins(counts)
    return _ratio(2 * hits, truth + predicted)


def iou_per_class(counts: Confusion) -> Scores:
    """TP / (TP + FP + FN) of each class, in [0, 1] or NaN (survey eq. 8)."""
    hits, truth, predicted = _margins(counts)
    return _ratio(hits, truth + predicted - hits)


def precision_per_class(counts: Confusion) -> Scores:
    """TP / (TP + FP) of each class, in [0, 1]; NaN where it is never predicted (survey Table 1)."""
    hits, _, predicted = _margins(counts)
    return _ratio(hits, predicted)


def recall_per_class(counts: Confusion) -> Scores:
    """TP / (TP + FN) of each class, in [0, 1]; NaN where it is not there (survey Table 1, sensitivity)."""
    hits, truth, _ = _margins(counts)
    return _ratio(hits, truth)


def specificity_per_class(counts: Confusion) -> Scores:
    """TN / (TN + FP) of each class, in [0, 1]; NaN where every labelled pixel is of the class (survey Table 1)."""
    hits, truth, predicted = _margins(counts)
    others = truth.sum(-1, keepdims=True) - truth
    return _ratio(others - predicted + hits, others)


def pixel_accuracy(counts: Confusion) -> float:
    """Share of labelled pixels that are right; NaN where none is labelled."""
    hits, truth, _ = _margins(counts)
    return float(_ratio(hits.sum(-1), truth.sum(-1)))


def frequency_weighted_iou(counts: Confusion) -> float:
    """IoU of the classes that are there, weighted by their labelled pixels; NaN where none is labelled.

    Source: Long et al. 2015, "Fully convolutional networks for semantic segmentation", section 5, arXiv:1411.4038.
    """
    _, truth, _ = _margins(counts)
    present = truth > 0
    if not present.any():
        return math.nan
    return float((truth[present] * iou_per_class(counts)[present]).sum() / truth.sum())


def foreground(class_names: Sequence[str]) -> list[int]:
    """Classes that ``dice`` averages: all but a first class named background."""
    first = 1 if class_names and class_names[0].lower() in ("background", "other", "unlabeled") else 0
    return list(range(first, len(class_names)))


PER_CLASS = {
    "dice": dice_per_class,
    "iou": iou_per_class,
    "precision": precision_per_class,
    "recall": recall_per_class,
    "specificity": specificity_per_class,
}
CASE_MEANS = ("dice", "miou")  # reported as means over cases, too: the two rank networks differently


def metric_names(names: Sequence[str], *, regions: bool = False) -> tuple[str, ...]:
    """Everything that ``summary_of_cases`` may report of classes, or of regions; of all of it more is better."""
    means = ["dice", "miou", "accuracy", "precision", "recall", "specificity"]
    means += [] if regions else ["mean_accuracy", "fwiou"]
    each = [f"{metric}/{name}" for metric in PER_CLASS for name in names]
    each += [f"accuracy/{name}" for name in names] if regions else []
    return (*means, *map(case_mean, CASE_MEANS), *each)


def case_mean(metric: str) -> str:
    """Name of a metric's mean over cases."""
    return f"case_{metric}"


def summary(counts: Confusion, names: Sequence[str]) -> dict[str, float]:
    """The metrics of one confusion matrix, or of one a region, by name; those that are 0/0 are left out.

    ``dice``, ``precision``, ``recall`` and ``specificity`` are means over foreground classes, ``miou`` and
    ``mean_accuracy`` (of recalls) over all classes; ``METRIC/CLASS`` stands beside. Of regions all are means over regions,
    each against what is outside of it.

    Shape:
        counts (K, K), or (R, 2, 2) of regions.
    """
    if counts.ndim == 3:
        return _summary_of_regions(counts, names)
    scores = {metric: of(counts) for metric, of in PER_CLASS.items()}
    named = {f"{metric}/{name}": scores[metric][k] for metric in scores for k, name in enumerate(names)}
    seen = foreground(names)
    named |= {metric: mean(scores[metric][seen]) for metric in scores if metric != "iou"}
    named |= {
        "miou": mean(scores["iou"]),
        "accuracy": pixel_accuracy(counts),
        "mean_accuracy": mean(scores["recall"]),
        "fwiou": frequency_weighted_iou(counts),
    }
    return defined(named)


def summary_of_cases(cases: Confusion, names: Sequence[str]) -> dict[str, float]:
    """The metrics of a set: of the summed counts, and the means over cases of ``CASE_MEANS`` beside.

    A case of which a metric is 0/0 counts in no mean over cases.

    Shape:
        cases (n, K, K), or (n, R, 2, 2) of regions.
    """
    each = [summary(counts, names) for counts in cases]
    averaged = {case_mean(metric): mean([one.get(metric, math.nan) for one in each]) for metric in CASE_MEANS}
    return summary(cases.sum(axis=0), names) | defined(averaged)


def _summary_of_regions(counts: Confusion, names: Sequence[str]) -> dict[str, float]:
    scores = {metric: of(counts)[:, 1] for metric, of in PER_CLASS.items()}
    scores["accuracy"] = np.array([pixel_accuracy(matrix) for matrix in counts])
    named = {f"{metric}/{name}": scores[metric][r] for metric in scores for r, name in enumerate(names)}
    means = {"miou" if metric == "iou" else metric: mean(values) for metric, values in scores.items()}
    return defined(named | means)


def dice_scores(counts: Confusion) -> Scores:
    """Dice of each class of a confusion matrix (K, K), or of each region of (R, 2, 2)."""
    return dice_per_class(counts) if counts.ndim == 2 else dice_per_class(counts)[:, 1]


def defined(named: Mapping[str, float]) -> dict[str, float]:
    """Only what is not 0/0."""
    return {name: float(value) for name, value in named.items() if math.isfinite(value)}


def mean(values: Iterable[float]) -> float:
    """Mean of what is not NaN, rounded once, so that no order matters; NaN where there is none."""
    present = [float(value) for value in values if math.isfinite(value)]
    return math.fsum(present) / len(present) if present else math.nan


def bootstrap_dice(
    cases: Confusion,
    *,
    classes: Sequence[int],
    generator: np.random.Generator,
    minus: Confusion | None = None,
    draws: int = 2000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of the mean Dice of some classes or regions when whole cases (patients) are drawn anew with replacement.

    Draws that hold none of the classes count nowhere; where all do, both ends are NaN.

    Args:
        cases: Counts of each case.
        classes: Those that the mean is over.
        generator: Draws the cases.
        minus: Counts of another network on the same cases; the interval is then that of the difference, the same cases
            drawn for both.
        draws: How often.
        level: Share of the draws inside the interval.

    Shape:
        cases and minus (n, K, K), or (n, R, 2, 2) of regions.

    Source: Efron 1979, percentile bootstrap. Deviations: none.
    """
    picks = generator.integers(0, len(cases), size=(draws, len(cases)))
    values = _drawn_dice(cases, picks, classes)
    if minus is not None:
        values = values - _drawn_dice(minus, picks, classes)
    values = values[np.isfinite(values)]
    if not values.size:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _drawn_dice(cases: Confusion, picks: npt.NDArray[np.int64], classes: Sequence[int]) -> Scores:
    return np.array([mean(dice_scores(cases[pick].sum(axis=0))[list(classes)]) for pick in picks])


def _margins(counts: Confusion) -> tuple[Confusion, Confusion, Confusion]:
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1), counts.sum(-2)


def _ratio(numerator: npt.NDArray[np.int64], denominator: npt.NDArray[np.int64]) -> Scores:
    with np.errstate(invalid="ignore"):
        return np.asarray(numerator / denominator, dtype=np.float64)
