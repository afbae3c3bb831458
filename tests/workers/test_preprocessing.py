"""Preprocessing by hand: geometry there and back in every orientation, intensity rules, statistics of training cases."""

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from search_spaces.preprocessing import Intensity, Percentile, Preprocessing, Window, ZScore
from workers import preprocessing
from workers.contract import DataView
from workers.data.dataset import Case, open_dataset
from workers.errors import DataError
from workers.preprocessing import Fitted, fit, prepare, prepared_axes, restore

ORIENTATIONS = [
    (axes, flips)
    for axes in itertools.permutations(range(3))
    for flips in itertools.product((1, -1), repeat=3)
]


def fitted(channels: int = 1, spacing: tuple[float, ...] | None = None, **choices: Any) -> Fitted:
    return Fitted(
        Preprocessing(**choices),
        mean=(10.0,) * channels,
        std=(4.0,) * channels,
        low=(2.0,) * channels,
        high=(12.0,) * channels,
        spacing=spacing,
        channels=channels,
    )


def volume_case(
    axes: tuple[int, ...] = (0, 1, 2),
    flips: tuple[int, ...] = (1, 1, 1),
    *,
    shape: tuple[int, ...] = (5, 6, 7),
    voxel: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> Case:
    """A volume whose stored axis i runs along world axis axes[i], backwards where flips[i] is -1; zeros around."""
    rng = np.random.default_rng(0)
    image = np.zeros((1, *shape), np.int16)
    image[:, 1:-1, 2:-1, 1:-2] = rng.integers(1, 900, (1, shape[0] - 2, shape[1] - 3, shape[2] - 3))
    inner = image[0] != 0
    labels = np.where(inner, rng.integers(0, 4, shape), 0).astype(np.uint8)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for stored, (world, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[world, stored] = flip * voxel[stored]
    return Case("case", "train", image, labels, voxel, affine, None)


def one_hot(labels: npt.NDArray[np.uint8], classes: int = 4) -> npt.NDArray[np.float32]:
    return np.stack([labels == k for k in range(classes)]).astype(np.float32)


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
@pytest.mark.parametrize("part", [1, 50, 2**22])
def test_restore_returns_labels_from_every_orientation(
    axes: tuple[int, ...], flips: tuple[int, ...], part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preprocessing, "_PART", part)
    case = volume_case(axes, flips)
    for crop in ("none", "nonzero"):
        prepared = prepare(fitted(crop=crop), case)
        assert prepared.labels is not None and prepared.image.shape[1:] == prepared.labels.shape
        np.testing.assert_array_equal(restore(prepared.undo, one_hot(prepared.labels)), case.labels)


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_one_volume_looks_the_same_however_it_is_stored(
    axes: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    world = volume_case()
    case = volume_case(axes, flips)
    assert world.labels is not None

    def store(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        turned = values.transpose(axes)  # stored axis i is world axis axes[i]
        return turned[tuple(slice(None, None, flip) for flip in flips)]

    stored = replace(case, image=store(world.image[0])[None], labels=store(world.labels))
    expected, found = prepare(fitted(), world), prepare(fitted(), stored)
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.labels, expected.labels)  # type: ignore[arg-type]  # arrays in these
    for axis in range(3):
        assert prepared_axes(found.undo.orientation, (axis,)) == (axes[axis],)


def test_stored_orientation_keeps_the_axes() -> None:
    case = volume_case((2, 0, 1), (-1, 1, -1))
    prepared = prepare(fitted(orientation="stored"), case)
    assert prepared.undo.orientation is None
    np.testing.assert_array_equal(prepared.labels, case.labels)  # type: ignore[arg-type]  # arrays in these
    assert prepared_axes(None, (0, 2)) == (0, 2)


def test_a_crop_is_the_box_of_voxels_that_are_not_zero() -> None:
    prepared = prepare(fitted(crop="nonzero"), volume_case())
    assert prepared.undo.box == (slice(1, 4), slice(2, 5), slice(1, 5))
    assert prepared.image.shape == (1, 3, 3, 4)
    outside = restore(prepared.undo, np.stack([np.zeros((3, 3, 4)), np.ones((3, 3, 4))]).astype(np.float32))
    assert outside.sum() == 36 and outside[0].sum() == 0  # what was cut off is class 0


@pytest.mark.parametrize(("axes", "flips"), [((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (-1, 1, -1))])
def test_median_spacing_there_and_back(axes: tuple[int, ...], flips: tuple[int, ...]) -> None:
    case = volume_case(axes, flips, shape=(12, 14, 16), voxel=(1.0, 2.0, 1.5))
    labels = np.zeros((12, 14, 16), np.uint8)
    labels[2:9, 3:11, 4:12] = 1
    labels[4:7, 5:9, 6:10] = 2
    case = replace(case, image=labels[None].astype(np.float32), labels=labels)
    prepared = prepare(fitted_median(), case)
    expected = {axes[0]: 8, axes[1]: 28, axes[2]: 16}  # 12 * 1 / 1.5, 14 * 2 / 1, 16 * 1.5 / 1.5
    assert prepared.image.shape[1:] == tuple(expected[axis] for axis in range(3))
    sizes = {axes[0]: 1.5, axes[1]: 1.0, axes[2]: 1.5}
    assert prepared.spacing == tuple(sizes[axis] for axis in range(3))
    assert prepared.labels is not None
    back = restore(prepared.undo, one_hot(prepared.labels, 3))
    assert back.shape == labels.shape
    assert (back == labels).mean() > 0.95  # half a voxel along borders
    np.testing.assert_array_equal(back[5, 6:8, 7:9], 2)


def fitted_median() -> Fitted:
    return replace(fitted(spacing=(1.5, 1.0, 1.5)), choices=Preprocessing(spacing="median"))


def test_zscore_by_hand() -> None:
    image = np.array([[[1.0, 3.0], [5.0, 7.0]], [[2.0, 2.0], [2.0, 2.0]]], np.float32)
    case = Case("picture", "train", image, None, None, None, None)
    own = prepare(fitted(2, intensity=ZScore("image")), case).image
    # mean 4, deviation sqrt((9 + 1 + 1 + 9) / 4) = sqrt(5); the constant channel has deviation 0
    np.testing.assert_allclose(own[0], (image[0] - 4) / 5**0.5, rtol=1e-6)
    np.testing.assert_array_equal(own[1], 0)
    shared = prepare(fitted(2, intensity=ZScore("training")), case).image
    np.testing.assert_allclose(shared, (image - 10) / 4, rtol=1e-6)


def test_percentile_and_window_by_hand() -> None:
    image = np.arange(101, dtype=np.float32).reshape(1, 1, 101)  # percentile p is p
    case = Case("picture", "train", image, None, None, None, None)
    own = prepare(fitted(intensity=Percentile(low=10, high=60)), case).image
    np.testing.assert_allclose(own[0, 0], np.clip((np.arange(101) - 10) / 50, 0, 1), atol=1e-6)
    shared = prepare(fitted(intensity=Percentile(scope="training")), case).image
    np.testing.assert_allclose(shared[0, 0], np.clip((np.arange(101) - 2) / 10, 0, 1), atol=1e-6)
    window = prepare(fitted(intensity=Window(20, 40)), case).image
    np.testing.assert_allclose(window[0, 0], np.clip((np.arange(101) - 20) / 20, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    "intensity",
    [ZScore("image"), ZScore("training"), Percentile(), Percentile(scope="training"), Window(0, 1)],
)
@pytest.mark.parametrize("value", [0, 7, -2000])
@pytest.mark.parametrize("shape", [(1, 4, 5), (1, 4, 5, 3), (1, 1, 1)])
def test_constant_images_give_finite_input(intensity: Intensity, value: int, shape: tuple[int, ...]) -> None:
    case = Case("flat", "train", np.full(shape, value, np.int16), None, None, None, None)
    flat = replace(fitted(intensity=intensity, crop="nonzero"), std=(0.0,), low=(3.0,), high=(3.0,))
    prepared = prepare(flat, case)
    assert prepared.image.shape == shape and prepared.image.dtype == np.float32
    assert np.isfinite(prepared.image).all() and np.abs(prepared.image).max() < 1e12


def test_pictures_there_and_back() -> None:
    rng = np.random.default_rng(1)
    image = np.zeros((3, 9, 11), np.uint8)
    image[:, 2:7, 3:10] = rng.integers(1, 255, (3, 5, 7))
    labels = np.zeros((9, 11), np.uint8)
    labels[2:7, 3:10] = rng.integers(0, 3, (5, 7))
    prepared = prepare(
        pictures(),
        Case("picture", "train", image, labels, None, None, None),
    )
    assert prepared.image.shape == (3, 5, 7) and prepared.labels is not None
    np.testing.assert_array_equal(restore(prepared.undo, one_hot(prepared.labels, 3)), labels)


def pictures() -> Fitted:
    return replace(fitted(3), choices=Preprocessing(crop="nonzero", spacing="median"))


def test_other_channels_and_unknown_axes_are_refused() -> None:
    case = volume_case()
    with pytest.raises(DataError, match="has 1 channels; the network was made for 2"):
        prepare(fitted(2), case)
    assert case.affine is not None
    case.affine[:, 1] = 0
    with pytest.raises(DataError, match="orientation: stored"):
        prepare(fitted(), case)
    assert prepare(fitted(orientation="stored"), case).image.shape == case.image.shape


def test_statistics_come_from_training_cases_only(scans: DataView) -> None:
    dataset = open_dataset(scans.dataset)
    found = fit(Preprocessing(), dataset.manifest)
    values = np.concatenate([dataset.case(id).image.reshape(-1) for id in dataset.ids("train")])
    assert found.mean == pytest.approx((values.mean(dtype=np.float64),))
    assert found.std == pytest.approx((values.std(dtype=np.float64),))
    assert found.low + found.high == pytest.approx(tuple(np.percentile(values, [0.5, 99.5])))
    assert (found.spacing, found.channels) == ((1.0, 1.0, 2.5), 1)


def test_percentiles_that_were_not_measured_over_training_cases_are_refused(scans: DataView) -> None:
    manifest = open_dataset(scans.dataset).manifest
    with pytest.raises(DataError, match=r"low 1 and high 99 .* 0\.5 and 99\.5"):
        fit(Preprocessing(Percentile(low=1.0, high=99.0, scope="training")), manifest)
    fit(Preprocessing(Percentile(low=1.0, high=99.0)), manifest)


@pytest.mark.parametrize("spacing", [None, (1.0, 0.5, 2.5)])
@pytest.mark.parametrize("intensity", [ZScore("training"), Percentile(1, 99), Window(-100, 300)])
def test_json_round_trip(intensity: Intensity, spacing: tuple[float, ...] | None) -> None:
    value = replace(fitted(2, intensity=intensity, crop="nonzero"), spacing=spacing)
    assert Fitted.from_json(json.loads(json.dumps(value.to_json()))) == value
