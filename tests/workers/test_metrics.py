"""Metrics by hand."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from workers import metrics
from workers.metrics import (
    bootstrap_dice,
    confusion,
    dice_per_class,
    foreground,
    frequency_weighted_iou,
    iou_per_class,
    mean,
    metric_names,
    pixel_accuracy,
    precision_per_class,
    recall_per_class,
    specificity_per_class,
    summary,
    summary_of_cases,
)
from workers.seeding import derive_seed, generator

TRUTH = np.array([[0, 0, 1, 1], [0, 1, 1, 255]], np.uint8)
PREDICTED = np.array([[0, 1, 1, 1], [0, 0, 1, 1]], np.uint8)
NAMES = ("background", "organ", "lesion")


def counts(
    truth: npt.NDArray[Any] = TRUTH, predicted: npt.NDArray[Any] = PREDICTED, classes: int = 3
) -> npt.NDArray[Any]:
    return confusion(truth, predicted, num_classes=classes, ignore_index=255)


@pytest.mark.parametrize("part", [1, 3, 5, 2**22])
def test_confusion_by_hand(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_PART", part)
    found = counts()
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, [[2, 1, 0], [1, 3, 0], [0, 0, 0]])  # the ignored pixel is nowhere


def test_scores_by_hand() -> None:
    np.testing.assert_allclose(dice_per_class(counts()), [4 / 6, 6 / 8, np.nan])
    np.testing.assert_allclose(iou_per_class(counts()), [2 / 4, 3 / 5, np.nan])
    assert pixel_accuracy(counts()) == pytest.approx(5 / 7)


def test_summary_by_hand() -> None:
    assert summary(counts(), NAMES) == pytest.approx(
        {
            "dice/background": 4 / 6,
            "dice/organ": 6 / 8,
            "iou/background": 2 / 4,
            "iou/organ": 3 / 5,
            "precision/background": 2 / 3,
            "precision/organ": 3 / 4,
            "recall/background": 2 / 3,
            "recall/organ": 3 / 4,
            "specificity/background": 3 / 4,
            "specificity/organ": 2 / 3,
            "specificity/lesion": 1,  # all 7 pixels are rightly no lesion
            "dice": 6 / 8,  # the lesion is neither there nor predicted: it counts nowhere
            "miou": (2 / 4 + 3 / 5) / 2,
            "accuracy": 5 / 7,
            "mean_accuracy": (2 / 3 + 3 / 4) / 2,
            "fwiou": 3 / 7 * 2 / 4 + 4 / 7 * 3 / 5,
            "precision": 3 / 4,
            "recall": 3 / 4,
            "specificity": (2 / 3 + 1) / 2,
        }
    )


def test_the_worked_example_of_the_survey() -> None:
    """Table 1 and Fig. 14: TP 7, FP 1, FN 3, TN 14."""
    found = summary(np.array([[14, 1], [3, 7]]), ("background", "object"))
    names = ("accuracy", "precision", "recall", "specificity", "dice", "iou/object")
    assert [round(found[name], 4) for name in names] == [0.84, 0.875, 0.7, 0.9333, 0.7778, 0.6364]


def test_zero_over_zero_is_not_a_number_and_named_nowhere() -> None:
    only_background = np.array([[5, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert np.isnan(precision_per_class(only_background)[1:]).all()
    assert np.isnan(recall_per_class(only_background)[1:]).all()
    assert math.isnan(specificity_per_class(only_background)[0])  # no pixel is of another class
    assert frequency_weighted_iou(only_background) == 1.0  # the absent weigh nothing
    assert math.isnan(frequency_weighted_iou(np.zeros((3, 3), np.int64)))
    found = summary(only_background, NAMES)
    assert not {"precision/organ", "recall/organ", "dice", "recall"} & found.keys()
    assert found["specificity/organ"] == 1.0


def test_means_over_cases_stand_beside_the_sums() -> None:
    small = counts(np.array([1], np.uint8), np.array([0], np.uint8))
    large = counts(np.ones(99, np.uint8), np.ones(99, np.uint8))
    none = counts(
        np.zeros(9, np.uint8), np.zeros(9, np.uint8)
    )  # no organ in it: it counts in no mean of Dice
    found = summary_of_cases(np.stack([small, large, none]), NAMES)
    assert found["case_dice"] == pytest.approx((0 + 1) / 2)
    assert found["case_miou"] == pytest.approx((0 + 1 + 1) / 3)
    assert found["dice"] == summary(small + large + none, NAMES)["dice"] == pytest.approx(198 / 199)


def test_every_name_is_announced() -> None:
    rng = np.random.default_rng(0)
    assert summary_of_cases(rng.integers(1, 9, (3, 3, 3)), NAMES).keys() == set(metric_names(NAMES))


def test_a_mean_does_not_depend_on_order() -> None:
    values = [1e16, 1.0, -1e16, 1.0, math.nan]
    assert mean(values) == mean(values[::-1]) == 0.5
    assert math.isnan(mean([math.nan]))


def test_a_class_that_is_never_predicted_scores_zero() -> None:
    truth = np.array([0, 1, 2, 2], np.uint8)
    found = summary(counts(truth, np.array([0, 1, 1, 0], np.uint8)), NAMES)
    assert found["dice/lesion"] == found["iou/lesion"] == 0
    assert found["dice"] == pytest.approx((2 / 3 + 0) / 2)


def test_a_class_that_is_only_predicted_scores_zero() -> None:
    found = summary(counts(np.zeros(4, np.uint8), np.array([0, 0, 2, 2], np.uint8)), NAMES)
    assert found["dice/lesion"] == 0 and "dice/organ" not in found


def test_only_ignored_pixels_leave_nothing() -> None:
    empty = counts(np.full(5, 255, np.uint8), np.zeros(5, np.uint8))
    assert empty.sum() == 0 and summary(empty, NAMES) == {}
    assert math.isnan(pixel_accuracy(empty))


def test_counts_are_summed_before_anything_is_divided() -> None:
    small = counts(np.array([1], np.uint8), np.array([0], np.uint8))
    large = counts(np.ones(99, np.uint8), np.ones(99, np.uint8))
    assert summary(small + large, NAMES)["dice/organ"] == pytest.approx(2 * 99 / (2 * 99 + 1))


def test_counts_beyond_a_byte() -> None:
    truth, predicted = np.full(100_000, 254, np.uint8), np.full(100_000, 253, np.uint8)
    assert counts(truth, predicted, 255)[254, 253] == 100_000


@pytest.mark.parametrize(
    ("names", "expected"),
    [(NAMES, [1, 2]), (("Background", "b"), [1]), (("road", "sky"), [0, 1]), (("background",), []), ((), [])],
)
def test_foreground(names: tuple[str, ...], expected: list[int]) -> None:
    assert foreground(names) == expected


def test_bootstrap_holds_the_value_and_repeats() -> None:
    rng = np.random.default_rng(0)
    cases = np.stack(
        [
            counts(rng.integers(0, 3, 200).astype(np.uint8), rng.integers(0, 3, 200).astype(np.uint8))
            for _ in range(12)
        ]
    )
    value = dice_per_class(cases.sum(0))[[1, 2]].mean()
    found = bootstrap_dice(cases, classes=[1, 2], generator=generator(1, "bootstrap"))
    low, high = found
    assert 0 < low < value < high < 1
    assert bootstrap_dice(cases, classes=[1, 2], generator=generator(1, "bootstrap")) == found
    narrow = bootstrap_dice(cases, classes=[1, 2], generator=generator(1, "bootstrap"), level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_bootstrap_of_equal_cases_is_a_point() -> None:
    cases = np.stack([counts()] * 4)
    assert bootstrap_dice(cases, classes=[1], generator=generator(1)) == pytest.approx((6 / 8, 6 / 8))


def test_bootstrap_of_a_class_that_is_nowhere_is_not_a_number() -> None:
    cases = np.stack([counts()] * 4)
    assert all(map(math.isnan, bootstrap_dice(cases, classes=[2], generator=generator(1))))


def test_seeds_depend_on_every_part_and_its_type() -> None:
    seeds = [
        derive_seed(1, "a", 2),
        derive_seed(2, "a", 2),
        derive_seed(1, "b", 2),
        derive_seed(1, "a", 3),
        derive_seed(1, "a", "2"),
        derive_seed(1, "a2"),
        derive_seed(1, "a"),
    ]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1, "a", 2) == 751158407608295134  # the same on every machine, in every version
    assert generator(1, "a").random() == generator(1, "a").random() != generator(1, "b").random()


def test_bootstrap_of_a_difference_draws_the_same_cases_for_both() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 50, (2, 8, 3, 3))
    assert bootstrap_dice(first, classes=[1, 2], generator=generator(1), minus=first) == (0.0, 0.0)
    found = bootstrap_dice(first, classes=[1, 2], generator=generator(1), minus=second, draws=40)
    picks = generator(1).integers(0, 8, size=(40, 8))
    slow = [
        np.mean(dice_per_class(sum(first[i] for i in pick))[1:])
        - np.mean(dice_per_class(sum(second[i] for i in pick))[1:])
        for pick in picks
    ]
    assert found == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))
