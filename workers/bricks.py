"""An array that lies in bricks in a mapped file: a window reads, and checks, the bricks that it touches and nothing else.

A brick is contiguous, so a window of a large volume touches few pages; each has a CRC-32, which a process compares when it
first touches the brick.
"""

import ctypes
import itertools
import math
import mmap
import zlib
from collections.abc import Callable, Iterator, Sequence
from types import EllipsisType
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Index = int | slice | EllipsisType

_libc = ctypes.CDLL(None)


class Bricks:
    """A read-only array whose windows are arrays. Indices are whole numbers from 0, slices without a step and one ellipsis.

    Attributes:
        shape, dtype: As of an array.
    """

    def __init__(
        self,
        held: Array,
        shape: Shape,
        checksums: npt.NDArray[np.uint32],
        mend: Callable[[], "Array | Bricks"],
    ) -> None:
        """Wrap what ``brick_parts`` made.

        Args:
            held: (*grid, *brick), contiguous.
            shape: Of the array; what the bricks have beyond it is padding.
            checksums: CRC-32 of each brick, (*grid).
            mend: Makes the array anew where a brick is damaged.
        """
        self.shape, self.dtype = shape, held.dtype
        self._held = held
        self._brick = held.shape[len(shape) :]
        self._checksums = checksums
        self._is_new = np.ones(checksums.shape, bool)  # not checked by this process
        self._mend = mend
        self._instead: Array | Bricks | None = None  # of a damaged one

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(
        self, index: int | slice | EllipsisType | tuple[int | slice | EllipsisType, ...]
    ) -> Array:
        """A window; of one brick a view, else a fresh array."""
        if self._instead is not None:
            return self._instead[index]
        parts = _of_axes(index, self.ndim)
        box = [
            part.indices(length)[:2] if isinstance(part, slice) else (part, part + 1)
            for part, length in zip(parts, self.shape, strict=True)
        ]
        window = self._window(box)
        if window is None:
            self._instead = self._mend()
            return self._instead[index]
        found: Array = window[tuple(slice(None) if isinstance(part, slice) else 0 for part in parts)]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """All of it."""
        whole = self[...]
        return whole.astype(whole.dtype if dtype is None else dtype, copy=bool(copy))

    def _window(self, box: Sequence[tuple[int, int]]) -> Array | None:
        """What lies in a box, by first and last index and axis; None where a brick of it is damaged."""
        runs = [list(_runs(first, last, edge)) for (first, last), edge in zip(box, self._brick, strict=True)]
        if not all(runs):
            return np.empty([last - first for first, last in box], self.dtype)
        touched = tuple(slice(run[0][0], run[-1][0] + 1) for run in runs)
        self._fetch(touched)
        if self._is_new[touched].any():
            for number in itertools.product(*(range(part.start, part.stop) for part in touched)):
                if self._is_new[number] and zlib.crc32(self._held[number].data) != self._checksums[number]:
                    return None
            self._is_new[touched] = False
        if all(len(run) == 1 for run in runs):
            number, inside, _ = zip(*(run[0] for run in runs), strict=True)
            view: Array = self._held[(*number, *inside)]
            return view
        window = np.empty([last - first for first, last in box], self.dtype)
        for each in itertools.product(*runs):
            number, inside, target = zip(*each, strict=True)
            window[target] = self._held[(*number, *inside)]
        return window

    def _fetch(self, touched: tuple[slice, ...]) -> None:
        """Have the kernel read these bricks at once: left to itself it reads page by page, or ten times as much ahead."""
        first, size = self._held.ctypes.data, math.prod(self._brick) * self.dtype.itemsize
        *others, last = touched
        for number in itertools.product(*(range(part.start, part.stop) for part in others)):
            start = first + size * int(np.ravel_multi_index((*number, last.start), self._checksums.shape))
            page = start - start % mmap.PAGESIZE
            length = start - page + size * (last.stop - last.start)
            _libc.madvise(
                ctypes.c_void_p(page), ctypes.c_size_t(length), mmap.MADV_WILLNEED
            )  # no more than advice


def brick_of(shape: Shape, wanted: Shape) -> Shape:
    """The size of bricks nearest to the one that is wanted that fills the grid almost without padding.

    Args:
        shape: Of the array.
        wanted: Edge along each axis; 0 takes the whole axis.
    """
    return tuple(
        math.ceil(length / max(1, round(length / edge))) if edge else max(1, length)
        for length, edge in zip(shape, wanted, strict=True)
    )


def grid_of(shape: Shape, brick: Shape) -> Shape:
    """How many bricks lie along each axis."""
    return tuple(math.ceil(length / edge) for length, edge in zip(shape, brick, strict=True))


def brick_parts(array: Array, brick: Shape) -> Iterator[Array]:
    """The bricks of an array in the order of their grid, padded with zeros; each is valid until the next."""
    part = np.zeros(brick, array.dtype)
    for number in itertools.product(*map(range, grid_of(array.shape, brick))):
        inside = array[tuple(slice(n * edge, (n + 1) * edge) for n, edge in zip(number, brick, strict=True))]
        if inside.shape != brick:
            part[...] = 0
        part[tuple(map(slice, inside.shape))] = inside
        yield part


def _of_axes(index: Index | tuple[Index, ...], ndim: int) -> tuple[int | slice, ...]:
    """An index for each axis: what an ellipsis or the end leaves out is taken whole."""
    parts = index if isinstance(index, tuple) else (index,)
    place = next((n for n, part in enumerate(parts) if isinstance(part, EllipsisType)), len(parts))
    before, after = parts[:place], parts[place + 1 :]
    whole = (slice(None),) * (ndim - len(before) - len(after))
    return tuple(part for part in (*before, *whole, *after) if not isinstance(part, EllipsisType))


def _runs(first: int, last: int, edge: int) -> Iterator[tuple[int, slice, slice]]:
    """The bricks that [first, last) touches along an axis: number, what of the brick, and where it goes."""
    for number in range(first // edge, -(-last // edge) if last > first else first // edge):
        start, stop = max(first, number * edge), min(last, (number + 1) * edge)
        yield (
            number,
            slice(start - number * edge, stop - number * edge),
            slice(start - first, stop - first),
        )
