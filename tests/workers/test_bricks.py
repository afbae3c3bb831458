"""Windows of an array in bricks are those of the array; a brick is checked when it is first touched."""

import itertools
import zlib

import numpy as np
import pytest

from workers.bricks import Array, Bricks, brick_of, brick_parts, grid_of


def in_bricks(array: Array, brick: tuple[int, ...], mended: list[int] | None = None) -> tuple[Bricks, Array]:
    parts = np.stack([part.copy() for part in brick_parts(array, brick)])
    grid = grid_of(array.shape, brick)
    held = parts.reshape(*grid, *brick)
    sums = np.array([zlib.crc32(part.tobytes()) for part in parts], np.uint32).reshape(grid)

    def mend() -> Array:
        assert mended is not None
        mended.append(1)
        return array

    return Bricks(held, array.shape, sums, mend), held


@pytest.mark.parametrize("brick", [(2, 3, 4, 2), (2, 7, 5, 6), (1, 1, 1, 1), (2, 4, 4, 4), (2, 7, 5, 1)])
def test_every_window_is_that_of_the_array(brick: tuple[int, ...]) -> None:
    array = np.arange(2 * 7 * 5 * 6, dtype=np.int16).reshape(2, 7, 5, 6)
    found, _ = in_bricks(array, brick)
    assert (found.shape, found.dtype, found.ndim) == (array.shape, array.dtype, 4)
    for a, b in itertools.combinations_with_replacement(range(8), 2):
        for c, d in ((0, 5), (1, 3), (4, 5), (2, 2)):
            for e, f in ((0, 6), (1, 2), (3, 6)):
                box = (slice(None), slice(a, b), slice(c, d), slice(e, f))
                np.testing.assert_array_equal(found[box], array[box])
    for n in range(6):
        np.testing.assert_array_equal(found[..., n], array[..., n])
        np.testing.assert_array_equal(found[1, ..., 2:4, n], array[1, ..., 2:4, n])
    np.testing.assert_array_equal(found[1], array[1])
    np.testing.assert_array_equal(found[0, 3], array[0, 3])
    np.testing.assert_array_equal(np.asarray(found), array)
    assert np.asarray(found, np.float32).dtype == np.float32


def test_the_edges_of_bricks_fill_the_array() -> None:
    """512 in 16 bricks of 32; 400 in 12 of 34, which pads by 8; 40 in one; 50 in two of 25."""
    assert brick_of((512, 400, 40), (32, 32, 32)) == (32, 34, 40)
    assert brick_of((50, 1, 7), (32, 32, 0)) == (25, 1, 7)
    assert brick_of((3, 9, 8, 5), (0, 0, 0, 1)) == (3, 9, 8, 1)
    assert grid_of((512, 400, 40), (32, 34, 40)) == (16, 12, 1)


def test_a_window_of_one_brick_is_a_view_of_it() -> None:
    array = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    found, held = in_bricks(array, (4, 4, 1))
    assert np.shares_memory(found[1:3, :, 2], held) and not np.shares_memory(found[1:3, :, 1:3], held)


def test_a_damaged_brick_is_found_when_it_is_touched_and_not_before() -> None:
    array = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    mended: list[int] = []
    found, held = in_bricks(array, (2, 2, 2), mended)
    held[1, 0, 1, 1, 1, 1] ^= 1  # the voxel (3, 1, 3)
    for box in itertools.product((slice(0, 2), slice(2, 4)), repeat=3):
        if box != (slice(2, 4), slice(0, 2), slice(2, 4)):
            np.testing.assert_array_equal(found[box], array[box])
    assert not mended
    np.testing.assert_array_equal(found[2:3, 0:1, 1:3], array[2:3, 0:1, 1:3])
    assert len(mended) == 1
    np.testing.assert_array_equal(found, array)
    assert len(mended) == 1


def test_a_brick_is_checked_once() -> None:
    array = np.zeros((4, 4), np.uint8)
    found, held = in_bricks(array, (2, 2))
    assert not found[:, :2].any()
    held[1, 0, 0, 0] = 7  # after it was checked: what a map shows later is as good as memory
    assert found[2, 0] == 7
