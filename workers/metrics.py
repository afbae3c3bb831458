"""Scores from integer counts: a confusion matrix a case, summed over the set, never averaged over batches.

0/0 (a class that is neither present nor predicted) is NaN in arrays and absent from dictionaries: it counts nowhere.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Confusion = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


def confusion(
    truth: npt.NDArray[np.uint8], predicted: npt.NDArray[np.uint8], *, num_classes: int, ignore_index: int
) -> Confusion:
    """Counts of (true class, predicted class); ignored pixels count nowhere.

    Shape:
        truth and predicted alike, any shape; returns (K, K) int64, rows are the truth.
    """
    valid = truth != ignore_index
    pairs = truth[valid].astype(np.int64) * num_classes + predicted[valid]
    return np.bincount(pairs, minlength=num_classes * num_classes).reshape(num_classes, num_classes)


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


def pixel_accuracy(counts: Confusion) -> float:
    """Share of labelled pixels that are right; NaN where none is labelled."""
    hits, truth, _ = _margins(counts)
    return float(_ratio(hits.sum(-1), truth.sum(-1)))


def foreground(class_names: Sequence[str]) -> list[int]:
    """Classes that ``dice`` averages: all but a first class named background."""
    first = 1 if class_names and class_names[0].lower() in ("background", "other", "unlabeled") else 0
    return list(range(first, len(class_names)))


def summary(counts: Confusion, class_names: Sequence[str]) -> dict[str, float]:
    """The metrics of one set by name; those that are 0/0 are left out.

    ``dice`` is the mean over foreground classes, ``miou`` over all classes; ``dice/NAME`` and ``iou/NAME`` stand beside.
    """
    dice, iou = dice_per_class(counts), iou_per_class(counts)
    named = {f"dice/{name}": dice[k] for k, name in enumerate(class_names)}
    named |= {f"iou/{name}": iou[k] for k, name in enumerate(class_names)}
    named |= {
        "dice": _mean(dice[foreground(class_names)]),
        "miou": _mean(iou),
        "accuracy": pixel_accuracy(counts),
    }
    return {name: float(value) for name, value in named.items() if np.isfinite(value)}


def bootstrap_dice(
    cases: Confusion,
    *,
    classes: Sequence[int],
    generator: np.random.Generator,
    minus: Confusion | None = None,
    draws: int = 2000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of the mean Dice of some classes when whole cases (patients) are drawn anew with replacement.

    Draws that hold none of the classes count nowhere; where all do, both ends are NaN.

    Args:
        cases: Counts of each case.
        classes: Classes that the mean is over.
        generator: Draws the cases.
        minus: Counts of another network on the same cases; the interval is then that of the difference, the same cases
            drawn for both.
        draws: How often.
        level: Share of the draws inside the interval.

    Shape:
        cases and minus (n, K, K): one confusion matrix a case.

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
    return np.array([_mean(dice_per_class(cases[pick].sum(axis=0))[list(classes)]) for pick in picks])


def _margins(counts: Confusion) -> tuple[Confusion, Confusion, Confusion]:
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1), counts.sum(-2)


def _ratio(numerator: npt.NDArray[np.int64], denominator: npt.NDArray[np.int64]) -> Scores:
    with np.errstate(invalid="ignore"):
        return np.asarray(numerator / denominator, dtype=np.float64)


def _mean(values: Scores) -> float:
    present = values[np.isfinite(values)]
    return float(present.mean()) if present.size else float("nan")
