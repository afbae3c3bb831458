"""Counting and translating bytes, against numpy's slow ways."""

import numpy as np
import pytest

from workers import levels
from workers.levels import (
    channel_counts,
    channel_moments,
    every,
    in_any_order,
    level_counts,
    moments,
    others,
    translated,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(1,), (7, 9), (3, 5, 4)])
def test_levels_are_counted(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    values = RNG.integers(0, 256, shape, dtype=np.uint8)
    for array in (values, values[::-1], values.T):
        np.testing.assert_array_equal(level_counts(array), np.bincount(array.reshape(-1), minlength=256))
    monkeypatch.setattr(levels, "_MAX_LENGTH", 10)
    np.testing.assert_array_equal(level_counts(values), np.bincount(values.reshape(-1), minlength=256))


def test_a_volume_of_half_a_gigabyte_is_counted() -> None:
    values = np.zeros(2**29, np.uint8)  # not touched, so it takes no memory
    assert level_counts(values)[0] == 2**29 and level_counts(values)[1:].sum() == 0


@pytest.mark.parametrize("shape", [(3, 5, 4), (1, 5, 4), (4, 5, 4), (3, 20), (3, 5, 4, 2), (2, 5, 3, 4)])
def test_channels_are_counted_in_any_order_of_memory(shape: tuple[int, ...]) -> None:
    first = RNG.integers(0, 256, shape, dtype=np.uint8)
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(first, 0, -1)), -1, 0)
    expected = [np.bincount(channel.reshape(-1), minlength=256) for channel in first]
    for image in (first, last, first[..., ::-1]):
        np.testing.assert_array_equal(channel_counts(image), expected)


def test_levels_are_translated_into_fresh_memory() -> None:
    values = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
    table = RNG.permutation(256).astype(np.int16) - 1
    for array in (values, values.T, values[:, ::2]):
        found = translated(array, table)
        np.testing.assert_array_equal(found, table[array].astype(np.uint8))
        assert found.flags.writeable and not np.shares_memory(found, array)


def test_values_of_no_known_level_are_kept_in_order() -> None:
    values = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
    for array in (values, values.T):
        assert others(array, bytes(range(200))).tolist() == [
            v for v in array.reshape(-1).tolist() if v >= 200
        ]
    assert not len(others(values, bytes(range(256))))


@pytest.mark.parametrize("step", [1, 3, 100])
def test_every_third_pixel(step: int) -> None:
    first = RNG.integers(0, 256, (3, 5, 4), dtype=np.uint8)
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(first, 0, -1)), -1, 0)
    for image in (first, last):
        np.testing.assert_array_equal(every(image, step), first.reshape(3, -1)[:, ::step])


@pytest.mark.parametrize("shape", [(3, 40, 30), (1, 9, 5, 7), (2, 1, 1)])
def test_moments_and_values_of_bytes_are_those_of_the_same_numbers(shape: tuple[int, ...]) -> None:
    """The mean of bytes is exact; single precision hides the order of the sum of squares."""
    for kind in (np.uint8, np.int16):
        pixels = RNG.integers(0, 256, shape).astype(kind)
        flat = pixels.reshape(len(pixels), -1).astype(np.float64)
        mean, std = channel_moments(pixels)
        np.testing.assert_array_equal(mean, flat.mean(axis=1).astype(np.float32))
        np.testing.assert_array_equal(std, flat.std(axis=1).astype(np.float32))
        values = in_any_order(pixels)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(np.sort(values, axis=1), np.sort(flat, axis=1))


@pytest.mark.parametrize("part", [1, 7, 60, 10_000])
def test_moments_of_a_large_volume_are_those_of_its_parts(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = RNG.integers(-1000, 3000, (2, 500)).astype(np.int16)
    monkeypatch.setattr(levels, "_PART", part)
    means, squares = moments(flat)
    np.testing.assert_allclose(means, flat.mean(axis=1), rtol=1e-14)
    np.testing.assert_allclose(squares, flat.astype(np.float64).var(axis=1) * 500, rtol=1e-13)
