"""Distance maps against every pair of pixels."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage

from workers.components import components
from workers.distance_maps import (
    _of_masks,
    label_maps,
    made_by_loader,
    neighbour_distances,
    prediction_maps,
    signed_distances,
    signed_distances_of,
)

ROW = np.array([[0, 0, 1, 1, 1, 2, 0, 0]])
CASES = [((9, 11), (1.0, 1.0), 4), ((7, 8), (2.5, 0.5), 3), ((5, 6, 4), (1.0, 1.0, 3.0), 4)]


def slow_distance(points: npt.NDArray[Any], spacing: tuple[float, ...]) -> npt.NDArray[Any]:
    """Distance to the nearest point of a mask, infinite where it is empty."""
    found = np.full(points.shape, np.inf)
    for place in np.ndindex(*points.shape):
        for other in np.argwhere(points):
            found[place] = min(found[place], np.linalg.norm((np.array(place) - other) * np.array(spacing)))
    return found


def drawn(shape: tuple[int, ...], classes: int, *, ignored: float = 0.1) -> npt.NDArray[Any]:
    rng = np.random.default_rng(len(shape) + classes)
    labels = rng.integers(0, classes, shape)
    labels[rng.random(shape) < ignored] = 255
    labels[labels == 1] = 0  # class 1 is absent
    return labels


def test_signed_distances_of_a_row_by_hand() -> None:
    found = signed_distances(ROW, num_classes=4, ignore_index=255, spacing=(1.0, 2.0))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0, 0], [-4, -2, 2, 4, 4, 2, -2, -4])
    np.testing.assert_array_equal(found[1, 0], [4, 2, -2, -4, -2, 2, 4, 6])
    np.testing.assert_array_equal(found[2, 0], [10, 8, 6, 4, 2, -2, 2, 4])
    assert not found[3].any()  # an absent class has no distances


@pytest.mark.parametrize(("shape", "spacing", "classes"), CASES)
def test_signed_distances_against_all_pairs(
    shape: tuple[int, ...], spacing: tuple[float, ...], classes: int
) -> None:
    labels = drawn(shape, classes)
    found = signed_distances(labels, num_classes=classes, ignore_index=255, spacing=spacing)
    for k in range(classes):
        inside, others = labels == k, (labels != k) & (labels != 255)
        outer, inner = slow_distance(inside, spacing), slow_distance(others, spacing)
        expected = np.where(inside, -inner, outer) if inside.any() else np.zeros(shape)
        np.testing.assert_allclose(found[k], expected, rtol=1e-5)
    batch = torch.from_numpy(np.stack([labels, labels[::-1], np.full_like(labels, 2)]))
    on_card = signed_distances_of(batch, num_classes=classes, ignore_index=255, spacing=spacing)
    np.testing.assert_allclose(on_card[0], found, rtol=1e-5)
    np.testing.assert_allclose(on_card[1], found[:, ::-1], rtol=1e-5)
    assert not on_card[2].any()


@pytest.mark.parametrize("label", [0, 2, 255])
def test_a_class_that_is_alone_has_no_distances(label: int) -> None:
    labels = np.full((4, 5), label)
    labels[0, 0] = 255
    assert not signed_distances(labels, num_classes=3, ignore_index=255, spacing=(1.0, 1.0)).any()


@pytest.mark.parametrize(("shape", "spacing", "classes"), CASES)
def test_neighbour_distances_against_all_pairs(
    shape: tuple[int, ...], spacing: tuple[float, ...], classes: int
) -> None:
    labels = drawn(shape, classes)
    labels[np.random.default_rng(1).random(shape) < 0.6] = 0  # leaves several objects
    numbers, count = components(labels, without=(0, 255))
    assert count >= 4
    each = np.stack([slow_distance(numbers == number, spacing) for number in range(1, count + 1)])
    found = neighbour_distances(labels, ignore_index=255, spacing=spacing)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.sort(each, axis=0)[:2].sum(axis=0), rtol=1e-5)


def test_touching_objects_of_two_classes_are_two() -> None:
    numbers, count = components(ROW, without=(0, 255))
    assert count == 2
    found = neighbour_distances(ROW, ignore_index=255, spacing=(1.0, 1.0))
    np.testing.assert_array_equal(found[0], [2 + 5, 1 + 4, 3, 2, 1, 1, 1 + 2, 2 + 3])
    assert numbers[0].tolist() == [0, 0, 1, 1, 1, 2, 0, 0]


@pytest.mark.parametrize("labels", [np.zeros((3, 3), int), np.array([[0, 1, 1, 255, 0]])])
def test_fewer_than_two_objects_are_infinitely_far(labels: npt.NDArray[Any]) -> None:
    assert np.isinf(neighbour_distances(labels, ignore_index=255, spacing=(1.0, 1.0))).all()


@pytest.mark.parametrize(("shape", "spacing", "classes"), CASES)
def test_maps_of_predictions_equal_those_of_the_labels(
    shape: tuple[int, ...], spacing: tuple[float, ...], classes: int
) -> None:
    labels = drawn(shape, classes, ignored=0.0)
    masks = torch.from_numpy(np.stack([labels == k for k in range(classes)]))
    expected = signed_distances(labels, num_classes=classes, ignore_index=255, spacing=spacing)
    np.testing.assert_allclose(prediction_maps(spacing)(masks), expected, rtol=1e-5)
    np.testing.assert_allclose(_of_masks(masks, spacing), expected, rtol=1e-5)  # as a card does it


def test_empty_and_full_masks_have_no_distances() -> None:
    masks = torch.stack([torch.zeros(4, 5), torch.ones(4, 5)]).bool()
    assert not prediction_maps((1.0, 1.0))(masks).any()
    assert not _of_masks(masks, (1.0, 1.0)).any()


def test_only_what_is_needed_is_made() -> None:
    labels = torch.from_numpy(np.stack([ROW, ROW[:, ::-1]]))
    for needs in itertools.chain.from_iterable(
        itertools.combinations(("distance", "neighbours", "image"), n) for n in range(4)
    ):
        # names of maps
        maps = label_maps(labels, frozenset(needs), num_classes=3, ignore_index=255, spacing=(1.0, 1.0))  # type: ignore[arg-type]
        assert set(maps) == {"distance", "neighbours"} & set(needs)
    maps = label_maps(
        labels, frozenset(("distance", "neighbours")), num_classes=3, ignore_index=255, spacing=(1.0, 1.0)
    )
    assert maps["distance"].shape == (2, 3, 1, 8) and maps["neighbours"].shape == (2, 1, 8)
    assert torch.equal(maps["distance"][1], maps["distance"][0].flip(-1))
    both: frozenset[Any] = frozenset(("distance", "neighbours"))
    assert (made_by_loader(both, "cpu"), made_by_loader(both, "cuda")) == (both, {"neighbours"})


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.39, 0.39), (0.7, 1.3), (5.0, 0.5)])
def test_large_maps_are_exact(spacing: tuple[float, ...]) -> None:
    """Against scipy's transform in double precision, with distances of hundreds of pixels, whose lengths sum up in single."""
    labels = np.zeros((200, 311), np.int64)
    labels[3:9, 290:] = 1
    labels[150:190, 40:43] = 2
    found = signed_distances(labels, num_classes=3, ignore_index=255, spacing=spacing)
    for k in range(3):
        outer, inner = (
            ndimage.distance_transform_edt(m, sampling=spacing) for m in (labels != k, labels == k)
        )
        np.testing.assert_allclose(found[k], outer - inner, rtol=2e-7 if spacing[0] == spacing[1] else 3e-6)


def test_a_label_of_no_class_is_near_to_nothing() -> None:
    """The loss names it; maps must not fail before."""
    found = signed_distances(np.array([[0, 9, 1, 1]]), num_classes=2, ignore_index=255, spacing=(1.0, 1.0))
    np.testing.assert_array_equal(found, [[[-2, 1, 2, 3]], [[2, 1, -2, -3]]])
