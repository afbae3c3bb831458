"""Windows over whole cases: pointwise networks come back exactly, padding is cut off, slices equal single slices."""

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from workers.contract import DataView
from workers.inference import case_scores


def view(kind: Any, *size: int, batch: int = 3) -> DataView:
    return DataView("", "", kind, size, batch)


def pointwise(windows: Tensor) -> Tensor:
    """Two classes from one channel, voxel by voxel."""
    return torch.cat([2 * windows, 1 - windows], dim=1)


def random_image(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((8, 8), (8, 8)),
        ((8, 8), (5, 3)),
        ((8, 8), (20, 8)),
        ((8, 6), (33, 5)),
        ((8, 8), (7, 31)),
        ((8, 8), (9, 9)),
        ((6, 4, 4), (13, 9, 4)),
        ((6, 4, 4), (5, 3, 11)),
    ],
)
def test_a_pointwise_network_is_reproduced(size: tuple[int, ...], shape: tuple[int, ...]) -> None:
    image = random_image(*shape)
    kind = "images" if len(size) == 2 else "patches"
    scores = case_scores(pointwise, image, view(kind, *size), num_classes=2)
    assert scores.shape == (2, *shape) and scores.dtype == np.float32
    # A weighted mean of equal numbers, in float32.
    np.testing.assert_allclose(scores, np.concatenate([2 * image, 1 - image]), rtol=1e-5, atol=1e-6)


def test_a_case_in_one_window_is_exact() -> None:
    image = random_image(7, 8)
    scores = case_scores(pointwise, image, view("images", 8, 8), num_classes=2)
    assert np.array_equal(scores, np.concatenate([2 * image, 1 - image]))


def test_windows_have_one_size_and_batches_one_length() -> None:
    seen = []

    def network(windows: Tensor) -> Tensor:
        seen.append(tuple(windows.shape))
        return pointwise(windows)

    case_scores(network, random_image(20, 5, 4), view("slices", 8, 8, batch=3), num_classes=2)
    assert (
        set(seen) == {(3, 1, 8, 8)} and len(seen) == 6
    )  # 4 slices x 4 windows in batches of 3, the last filled up


def test_the_middle_of_a_window_counts_most() -> None:
    """Windows 0-7 and 4-11 over 12 voxels say 0 and 1: each end is one window's, the middle is half of both."""
    numbers = iter((0.0, 1.0))

    def network(windows: Tensor) -> Tensor:
        values = torch.tensor([next(numbers) for _ in windows])
        return values.view(-1, 1, 1, 1).expand(-1, 2, *windows.shape[2:])

    scores = case_scores(network, random_image(12, 8), view("images", 8, 8, batch=2), num_classes=2)
    line = scores[0, :, 3]
    assert (line[:4] == 0).all() and (line[8:] == 1).all()
    assert line[5] + line[6] == pytest.approx(1) and 0 < line[4] < line[5] < 0.5
    # Distances to the centres 3.5 and 7.5 are 1.5 and 2.5, the deviation is 1: weights exp(-9/8) and exp(-25/8).
    assert line[5] == pytest.approx(np.exp(-25 / 8) / (np.exp(-9 / 8) + np.exp(-25 / 8)), rel=1e-5)


def test_slices_equal_single_slices() -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv2d(1, 2, 5, padding=2).eval()
    volume = random_image(11, 7, 5)
    with torch.inference_mode():
        whole = case_scores(network, volume, view("slices", 8, 8, batch=4), num_classes=2)
        for depth in range(5):
            single = case_scores(network, volume[..., depth], view("images", 8, 8, batch=4), num_classes=2)
            np.testing.assert_allclose(whole[..., depth], single, rtol=1e-5, atol=1e-6)


def test_slices_are_seen_with_those_beside_them() -> None:
    """A network that gives back what it sees before and behind a slice."""
    volume = np.random.default_rng(0).normal(size=(2, 11, 7, 5)).astype(np.float32)
    around = replace(view("slices", 11, 7, batch=2), adjacent_slices=1)
    scores = case_scores(lambda windows: windows, volume, around, num_classes=6)
    assert np.array_equal(scores[2:4], volume)
    assert np.array_equal(scores[:2], volume[..., [0, 0, 1, 2, 3]])
    assert np.array_equal(scores[4:], volume[..., [1, 2, 3, 4, 4]])


def test_memory_holds_one_batch_of_windows_not_all() -> None:
    """49 windows of 256 KiB each: what the network gave is added up and let go."""
    image = np.zeros((1, 1024, 1024), np.float32)
    tracemalloc.start()
    case_scores(lambda windows: windows, image, view("images", 256, 256, batch=1), num_classes=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (
        peak < 5 * image.nbytes
    )  # scores, their weights, the quotient, one window; all windows would take 12 MB twice
