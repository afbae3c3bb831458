"""Measures by hand and against slow, obvious versions; what merges and what a leg reports."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from search_spaces.errors import UnknownKindError
from workers.contract import DataView, Leg
from workers.data.dataset import open_dataset
from workers.errors import DataError
from workers.evaluate import Evaluation, evaluate, merge
from workers.leg import run_leg
from workers.measure import (
    Compared,
    all_measures,
    measure_names,
    measured_metrics,
    measures,
    summary_of_facts,
)
from workers.measures.partition import border_class, grown, info_scores, rand_scores
from workers.measures.surface import surface_distances
from workers.metrics import metric_names
from workers.prepared_cases import PreparedCases
from workers.preprocessing import Fitted, Undo, fit, restore, restore_probabilities

NAMES = ("background", "organ")
Labels = npt.NDArray[np.uint8]


def compared(truth: Any, predicted: Any, names: tuple[str, ...] = NAMES, **fields: Any) -> Compared:
    truth, predicted = np.array(truth, np.uint8), np.array(predicted, np.uint8)
    standard: dict[str, Any] = {"spacing": (1.0,) * truth.ndim, "ignore_index": 255}
    return Compared(truth, predicted, class_names=names, **(standard | fields))


def metrics(*cases: Compared, of: str) -> dict[str, float]:
    (measure,) = measures([of])
    return summary_of_facts(
        {of: np.stack([measure.of(case) for case in cases])},
        cases[0].class_names,  # type: ignore[dict-item]  # tuples as keys
    )


def drawn(seed: int, shape: tuple[int, ...], classes: int = 3) -> Compared:
    """Blobs, some voxels ignored, and probabilities that the prediction follows."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, shape).astype(np.uint8)
    logits = rng.normal(size=(classes, *shape)) + 1.5 * (
        truth == np.arange(classes).reshape(-1, *[1] * len(shape))
    )
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=0)
    truth[rng.random(shape) < 0.1] = 255
    return compared(
        truth,
        probabilities.argmax(axis=0),
        ("background", *(f"c{k}" for k in range(1, classes))),
        probabilities=probabilities.astype(np.float32),
        spacing=(1.0, 2.0, 0.5)[: len(shape)],
    )


@pytest.mark.parametrize("measure", all_measures(), ids=lambda one: one.kind)
def test_facts_add_up_in_any_order_and_names_are_announced(measure: Any) -> None:
    cases = [drawn(seed, (9, 11)) for seed in range(4)]
    facts = np.stack([measure.of(case) for case in cases])
    names = cases[0].class_names
    found = summary_of_facts({measure.kind: facts}, names)
    assert found == summary_of_facts({measure.kind: facts[[2, 0, 3, 1]]}, names)
    assert set(measure.better) <= set(found) <= set(measured_metrics(names))
    assert all(math.isfinite(value) for value in found.values())
    assert measure.pooled == any(name.startswith("case_") for name in found)
    assert facts.dtype == (np.int64 if measure.pooled else np.float64)


@pytest.mark.parametrize("measure", all_measures(), ids=lambda one: one.kind)
def test_a_perfect_prediction_is_best_and_no_case_is_not_defined(measure: Any) -> None:
    truth = np.zeros((8, 8), np.uint8)
    truth[2:5, 3:7] = 1
    sure = np.stack([truth == 0, truth == 1]).astype(np.float32)
    perfect = metrics(compared(truth, truth, probabilities=sure), of=measure.kind)
    for name, better in measure.better.items():
        assert perfect[name] == (1.0 if better == "more" else 0.0)
    ignored = compared(np.full((8, 8), 255), truth, probabilities=sure)
    assert metrics(ignored, of=measure.kind) == {}


@pytest.mark.parametrize(
    "measure",  # an ignored voxel may connect predicted pieces
    [one for one in all_measures() if one.kind != "partition"],
    ids=lambda one: one.kind,
)
@pytest.mark.parametrize("shape", [(7, 9), (5, 6, 4)])
def test_ignored_voxels_change_nothing_where_they_are_predicted_anyhow(
    measure: Any, shape: tuple[int, ...]
) -> None:
    case = drawn(1, shape)
    other = np.where(case.valid, case.predicted, (case.predicted + 1) % 3).astype(np.uint8)
    changed = dataclasses.replace(case, predicted=other)
    np.testing.assert_array_equal(measure.of(changed), measure.of(case))


def test_surface_distances_by_hand() -> None:
    truth, predicted = np.zeros((1, 12), np.uint8), np.zeros((1, 12), np.uint8)
    truth[0, 2:5], predicted[0, 2:8] = 1, 1  # all are surface, as the image is one voxel high
    found = metrics(compared(truth, predicted, spacing=(1.0, 2.0)), of="surface")
    back = [0, 0, 0, 2, 4, 6]
    assert found["hd95"] == pytest.approx(np.percentile(back, 95))
    assert found["asd"] == pytest.approx((0 * 3 + sum(back)) / 9)
    assert found["hd95/organ"] == found["hd95"] and "hd95/background" not in found


@pytest.mark.parametrize(("shape", "spacing"), [((12, 14), (1.0, 1.0)), ((6, 8, 7), (3.0, 0.5, 1.0))])
def test_surface_distances_against_all_pairs(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    rng = np.random.default_rng(3)
    masks = [rng.random(shape) < 0.5 for _ in range(2)]
    masks[1][0] = False

    def surface(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        padded = np.pad(mask, 1)
        points = [
            place
            for place in np.argwhere(padded)
            if not all(
                padded[tuple(place + step)] for axis in np.eye(mask.ndim, dtype=int) for step in (axis, -axis)
            )
        ]
        return (np.array(points) - 1) * np.array(spacing)

    one, other = (surface(mask) for mask in masks)
    apart = np.linalg.norm(one[:, None] - other[None], axis=2)
    there, back = surface_distances(*masks, spacing)
    np.testing.assert_allclose(there, apart.min(axis=1))
    np.testing.assert_allclose(back, apart.min(axis=0))


def test_a_missed_and_an_invented_object_cost_the_diagonal() -> None:
    empty, object_ = np.zeros((3, 4), np.uint8), np.eye(3, 4, dtype=np.uint8)
    missed, invented = compared(object_, empty, spacing=(1.0, 1.0)), compared(empty, object_)
    right = compared(object_, object_)
    assert metrics(missed, of="surface")["hd95"] == 5.0
    assert metrics(invented, right, compared(empty, empty), of="surface")["asd"] == 2.5


def test_boundary_f1_by_hand() -> None:
    truth, predicted = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint8)
    truth[:, 5:], predicted[:, 7:] = 1, 1
    predicted[:3, 5:] = 1  # three rows are right; the boundary of the others is two pixels off
    case = compared(truth, predicted)
    # Predicted boundary: (0..2, 5) near, (2, 5..6) have one below outside, (3..9, 7) off, ...: counted by eye.
    outline = {(0, 5), (1, 5), (2, 5), (2, 6), *((row, 7) for row in range(3, 10))}
    true = {(row, 5) for row in range(10)}
    near = [p for p in outline if any(math.dist(p, q) <= 1 for q in true)]
    met = [q for q in true if any(math.dist(p, q) <= 1 for p in outline)]
    precision, recall = len(near) / len(outline), len(met) / len(true)
    assert (len(near), len(met)) == (4, 4)
    found = metrics(case, of="boundary")
    assert found["boundary_f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert found["case_boundary_f1"] == found["boundary_f1"]


def test_the_edge_of_the_image_is_no_boundary_and_none_in_one_of_them_is_zero() -> None:
    full, half = np.ones((4, 4)), np.tile([0, 0, 1, 1], (4, 1))
    assert metrics(compared(full, full), of="boundary") == {}
    assert metrics(compared(half, full), of="boundary")["boundary_f1"] == 0
    bordered = half.copy()
    bordered[:, 1] = 255  # what lies between is ignored: no boundary is known
    assert metrics(compared(bordered, bordered), of="boundary") == {}


def test_the_tolerance_grows_with_the_image() -> None:
    truth, predicted = np.zeros((300, 400), np.uint8), np.zeros((300, 400), np.uint8)
    truth[:, 200:], predicted[:, 203:] = 1, 1
    assert (
        metrics(compared(truth, predicted), of="boundary")["boundary_f1"] == 1.0
    )  # 0.0075 * 500 = 3.75 pixels
    predicted[:, 203] = 0
    assert metrics(compared(truth, predicted), of="boundary")["boundary_f1"] == 0.0


def test_objects_by_hand() -> None:
    truth, predicted = np.zeros((8, 12), np.uint8), np.zeros((8, 12), np.uint8)
    truth[0:2, 0:4], predicted[0:2, 1:4] = 1, 1  # IoU 6/8: found
    truth[4:6, 0:4], predicted[4:6, 2:6] = 1, 1  # IoU 4/12: one missed, one invented
    predicted[0:2, 8:10] = 1  # invented
    found = metrics(compared(truth, predicted), of="objects")
    assert found["object_precision"] == pytest.approx(1 / 3)
    assert found["object_recall"] == pytest.approx(1 / 2)
    assert found["object_f1"] == pytest.approx(2 / (2 + 2 + 1))


def test_half_an_overlap_is_not_enough() -> None:
    found = metrics(compared([[1, 1, 0]], [[1, 0, 0]]), of="objects")
    assert found["object_f1"] == 0 and found["object_recall"] == 0


def test_objects_are_counted_over_cases() -> None:
    hit, miss = compared([[1, 0, 1]], [[1, 0, 1]]), compared([[1, 0, 0]], [[0, 0, 0]])
    found = metrics(hit, miss, of="objects")
    assert found["object_f1"] == pytest.approx(4 / 5)
    assert found["case_object_f1"] == pytest.approx(1 / 2)


def test_rand_and_information_by_hand() -> None:
    true, merged = np.array([1, 1, 2, 2]), np.array([7, 7, 7, 7])
    assert rand_scores(true, merged) == pytest.approx((2 * 8 / (8 + 16), 1.0, 8 / 16))  # nothing is split
    assert rand_scores(merged, true) == pytest.approx((2 * 8 / (8 + 16), 8 / 16, 1.0))
    assert info_scores(true, merged) == pytest.approx((0.0, 1.0, 0.0))
    assert info_scores(true, true) == pytest.approx((1.0, 1.0, 1.0))
    split = np.array([1, 2, 3, 3])
    both, three = math.log(2), 0.5 * math.log(4) + 0.5 * math.log(2)
    assert info_scores(true, split) == pytest.approx((2 * both / (both + three), both / three, 1.0))


def test_a_hole_in_a_membrane_merges_two_cells() -> None:
    names = ("cell", "membrane")
    truth = np.zeros((9, 9), np.uint8)
    truth[:, 4] = 1
    thick, open_ = truth.copy(), truth.copy()
    thick[:, 3:6] = 1
    open_[4, 4] = 0
    right = metrics(compared(truth, thick, names), of="partition")
    assert right["v_rand"] == right["v_info"] == 1.0  # borders have no width
    wrong = metrics(compared(truth, open_, names), of="partition")
    cells = 2 * 36**2
    assert wrong["v_rand"] == pytest.approx(2 * cells / (cells + 72**2)) and wrong["v_rand_split"] == 1.0
    assert metrics(compared(truth, np.ones((9, 9)), names), of="partition")["v_rand_merge"] == 0.5
    assert metrics(compared(np.ones((9, 9)), truth, names), of="partition") == {}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("cell", "Membrane"), 1),
        (("border", "cell"), 0),
        (("a", "background"), 1),
        (("background", "membrane"), 1),
        (("a", "b"), 0),
    ],
)
def test_the_class_between_pieces(names: tuple[str, ...], expected: int) -> None:
    assert border_class(names) == expected


def test_borders_go_to_the_nearest_piece() -> None:
    numbers = np.array([[1, 0, 0, 0, 0, 2]], np.int32)
    assert grown(numbers, (1.0, 1.0)).tolist() == [[1, 1, 1, 2, 2, 2]]
    assert not grown(np.zeros((2, 2), np.int32), (1.0, 1.0)).any()


def test_calibration_by_hand() -> None:
    first = np.array([[0.95, 0.95, 0.65, 0.65, 0.9]], np.float32)
    probabilities = np.stack([first, 1 - first])
    truth = [[0, 1, 0, 0, 255]]
    found = metrics(compared(truth, np.zeros((1, 5)), probabilities=probabilities), of="calibration")
    expected = (abs(1 - 2 * 0.95) + abs(2 - 2 * 0.65)) / 4
    assert found["ece"] == pytest.approx(expected, abs=1e-6)
    assert found["ece/background"] == pytest.approx(expected, abs=1e-6)
    assert found["ece/organ"] == pytest.approx(
        expected, abs=1e-6
    )  # of two classes the errors mirror each other


def test_calibration_against_a_loop() -> None:
    case = drawn(5, (30, 30))
    assert case.probabilities is not None
    probabilities, truth = case.probabilities[:, case.valid].astype(float), case.truth[case.valid]
    error = 0.0
    for number in range(15):
        sure = probabilities.max(axis=0)
        inside = (sure > number / 15) & (sure <= (number + 1) / 15)
        if inside.any():
            right = (probabilities.argmax(axis=0) == truth)[inside]
            error += inside.mean() * abs(right.mean() - sure[inside].mean())
    assert metrics(case, of="calibration")["ece"] == pytest.approx(error, abs=1e-6)


def test_which_measures_give_a_metric() -> None:
    assert measure_names(["dice", "iou/organ", "accuracy", "case_dice"]) == ()
    assert measure_names(["hd95/organ", "asd", "case_boundary_f1"]) == ("boundary", "surface")
    names = measured_metrics(NAMES)
    assert names["hd95"] == names["asd/organ"] == "less" and names["case_object_f1"] == "more"
    assert "ece/background" in names and "hd95/background" not in names and "v_rand/organ" not in names
    assert not names.keys() & set(metric_names(NAMES))
    with pytest.raises(UnknownKindError, match="did you mean 'surface'"):
        measures(["surfaces"])


def evaluation(ids: str, seed: int = 0) -> Evaluation:
    found = {id: drawn(ord(id), (6, 7)) for id in ids}
    facts = {one.kind: np.stack([one.of(case) for case in found.values()]) for one in all_measures()}
    counts = np.stack([np.full((3, 3), ord(id) % 7 + 1) for id in ids])
    # facts are given as a dictionary
    return Evaluation(tuple(ids), counts, ("background", "c1", "c2"), facts)  # type: ignore[arg-type]


def test_a_merge_does_not_depend_on_who_scored_what() -> None:
    whole = evaluation("abcdef")
    for parts in (("abc", "def"), ("f", "db", "eac"), ("fedcba",)):
        merged = merge([evaluation(part) for part in parts])
        assert merged.ids == whole.ids and merged.metrics == whole.metrics
        np.testing.assert_array_equal(merged.counts, whole.counts)
    assert merge([evaluation("ab")]).case_metrics["b"] == evaluation("b").metrics


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="b: scored more than once"):
        merge([evaluation("ab"), evaluation("bc")])
    with pytest.raises(DataError, match="other classes or measures"):
        merge([evaluation("ab"), dataclasses.replace(evaluation("c"), facts={})])


def test_probabilities_in_the_voxels_of_the_file() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype(np.float32)
    turn = np.array([[1, -1], [0, 1], [2, 1]], float)
    undo = Undo((7, 4, 12), turn, (4, 7, 12), (slice(0, 4), slice(1, 6), slice(2, 8)), (4, 5, 6))
    found = restore_probabilities(undo, scores)
    assert found.shape == (3, 7, 4, 12)
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.argmax(axis=0), restore(undo, scores))
    assert (found[0] == 1).sum() == 7 * 4 * 12 - 4 * 5 * 6  # what the crop cut off


def test_an_evaluation_measures_what_is_asked(scans: DataView) -> None:
    dataset = open_dataset(scans.dataset)
    fitted: Fitted = fit_of(dataset)
    cases = PreparedCases(dataset, "validation", fitted)

    def network(windows: torch.Tensor) -> torch.Tensor:
        return torch.stack([-windows[:, 0], windows[:, 0]], dim=1)

    names = ("background", "box")
    plain = evaluate(network, cases, scans, names=names, ignore_index=255)
    found = evaluate(network, cases, scans, names=names, ignore_index=255, measures=all_measures())
    assert plain.metrics.items() <= found.metrics.items() and not plain.facts
    assert {"hd95", "boundary_f1", "v_rand", "object_f1", "ece/box"} <= found.metrics.keys()
    assert found.case_metrics.keys() == set(found.ids)


def fit_of(dataset: Any) -> Fitted:
    from search_spaces.preprocessing import Preprocessing

    return fit(Preprocessing(), dataset.manifest)


def test_a_leg_measures_what_its_search_is_after(make_leg: Callable[..., Leg]) -> None:
    epochs: list[Any] = []
    result = run_leg(make_leg(measures=("boundary", "surface"), last_epoch=1), epochs.append, lambda: False)
    assert result.status == "completed", result.message
    assert {"hd95", "asd/box", "boundary_f1", "dice"} <= epochs[0].metrics.keys()
    assert "ece" not in epochs[0].metrics
