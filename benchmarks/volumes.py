"""What a window of a large volume reads, and how long it takes, by how the volume lies in its file.

A synthetic CT volume (a body, balls in it, noise; int16) with labels lies in files of different layouts: *slices first*, each
slice along the last axis contiguous; *C order*, (X, Y, Z); *bricks* of some edges, which ``workers.bricks`` reads; *zstd
bricks*, each compressed by itself. Random windows are cut from all of them in turn and become float32 network input, as
training does.

*touched* are the bytes of the pages that a window covers; *read* those that the kernel has in memory after a window of a file
of which it had none, read ahead included (``mincore``); *cold* the time of that window, *warm* that of one whose file is in
memory. Medians over the windows.

    PYTHONPATH=. python benchmarks/volumes.py                          # 512 x 512 x 400, windows of 96 and 64
    PYTHONPATH=. python benchmarks/volumes.py --shape 256 256 256
"""

import argparse
import ctypes
import mmap
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from readers import stamp

from workers.bricks import Bricks, brick_of, brick_parts, grid_of

Array = npt.NDArray[Any]
PAGE = mmap.PAGESIZE
SHIFT, SCALE = np.float32(40), np.float32(400)
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Layout:
    """A file, and how its bytes become pixels (1, X, Y, Z) and labels (X, Y, Z) that give windows."""

    path: Path
    opened: Callable[[Array], tuple[Any, Any]]


@dataclass(frozen=True)
class Packed:
    """Compressed bricks behind the indices of bricks that are not."""

    held: Array
    ends: Array
    grid: tuple[int, ...]
    brick: tuple[int, ...]
    dtype: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array of bricks."""
        return (*self.grid, *self.brick)

    def __getitem__(self, index: tuple[Any, ...]) -> Array:
        """A part of one brick."""
        number = int(np.ravel_multi_index(index[: len(self.grid)], self.grid))
        data = self.held[self.ends[number] : self.ends[number + 1]]
        size = int(np.prod(self.brick)) * self.dtype.itemsize
        whole = np.frombuffer(pa.decompress(data.data, size, codec="zstd"), self.dtype).reshape(self.brick)
        part: Array = whole[index[len(self.grid) :]]
        return part


class Compressed(Bricks):
    """Bricks that are ``Packed``: no place follows from their number."""

    def _fetch(self, touched: tuple[slice, ...]) -> None:
        pass


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 400))
    parser.add_argument("--windows", type=int, nargs="+", default=[96, 64])
    parser.add_argument("--edges", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--count", type=int, default=20, help="windows of each size")
    given = parser.parse_args()
    pixels, labels = ct_volume(tuple(given.shape))
    size = f"{pixels.nbytes / 1e6:.0f} and {labels.nbytes / 1e6:.0f} MB"
    with tempfile.TemporaryDirectory(prefix="volumes-", dir=Path.cwd()) as name:
        layouts = {
            "slices first": whole(Path(name), pixels, labels, last_first=True),
            "C order": whole(Path(name), pixels, labels, last_first=False),
        }
        for edge in given.edges:
            layouts[f"bricks of {edge}"] = bricks(Path(name), pixels, labels, edge)
        layouts["zstd bricks of 32"] = bricks(Path(name), pixels, labels, 32, compressed=True)
        for edge in given.windows:
            stamp(f"{' x '.join(map(str, given.shape))} ({size} of labels), {given.count} windows of {edge}")
            table(layouts, pixels.shape[1:], edge, given.count)


def ct_volume(shape: tuple[int, ...], seed: int = 0) -> tuple[Array, Array]:
    """A body of noise with ten balls in it, (1, *shape) int16, and labels (*shape) of three classes."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    x, y, z = np.ogrid[tuple(map(slice, shape))]
    for number in range(10):
        a, b, c = (int(rng.integers(n // 4, 3 * n // 4)) for n in shape)
        radius = int(rng.integers(min(shape) // 20, min(shape) // 8))
        labels[(x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2 < radius**2] = 1 + number % 3
    pixels = np.full((1, *shape), -1000, np.int16)
    body = ((x / shape[0] - 0.5) ** 2 + (y / shape[1] - 0.5) ** 2 < 0.16)[..., 0]
    for depth in range(shape[2]):
        found = rng.integers(10, 70, shape[:2], dtype=np.int16) + 60 * labels[..., depth].astype(np.int16)
        pixels[0, body, depth] = found[body]
    return pixels, labels


def whole(folder: Path, pixels: Array, labels: Array, *, last_first: bool) -> Layout:
    """Two whole arrays after each other."""
    arrays = [np.moveaxis(array, -1, 0) if last_first else array for array in (pixels, labels)]
    path = save(folder / f"whole-{last_first}", [np.ascontiguousarray(array) for array in arrays])

    def opened(held: Array) -> tuple[Array, Array]:
        image = held[: pixels.nbytes].view(pixels.dtype).reshape(arrays[0].shape)
        truth = held[pixels.nbytes :].reshape(arrays[1].shape)
        return (np.moveaxis(image, 0, -1), np.moveaxis(truth, 0, -1)) if last_first else (image, truth)

    return Layout(path, opened)


def bricks(folder: Path, pixels: Array, labels: Array, edge: int, *, compressed: bool = False) -> Layout:
    """Both in bricks; their checksums are none of what is compared here, so they are made to agree."""
    parts: list[Array] = []
    places = []
    for array in (pixels, labels[None]):
        brick = brick_of(array.shape, (0, edge, edge, edge))
        made = [part.copy() for part in brick_parts(array, brick)]
        if compressed:
            made = [
                np.frombuffer(pa.compress(part.tobytes(), codec="zstd", asbytes=True), np.uint8)
                for part in made
            ]
        ends = np.cumsum([0, *(part.nbytes for part in made)]) + (places[-1][2][-1] if places else 0)
        places.append((array, brick, ends))
        parts += made
    path = save(folder / f"bricks-{edge}-{compressed}", parts)

    def opened(held: Array) -> tuple[Bricks, Any]:
        found = []
        for array, brick, ends in places:
            grid = grid_of(array.shape, brick)
            source: Any = (
                Packed(held, ends, grid, brick, array.dtype)
                if compressed
                else held[ends[0] : ends[-1]].view(array.dtype).reshape(*grid, *brick)
            )
            kind = Compressed if compressed else Bricks
            found.append(kind(source, array.shape, np.zeros(grid, np.uint32), lambda: pixels))
            found[-1]._is_new[...] = False
        return found[0], found[1]

    return Layout(path, opened)


def save(path: Path, parts: list[Array]) -> Path:
    """Write arrays after each other, to the disk."""
    with path.open("wb") as file:
        for part in parts:
            file.write(part.data)
        os.fsync(file.fileno())
    return path


def table(layouts: dict[str, Layout], shape: tuple[int, ...], edge: int, count: int) -> None:
    """Print medians; windows are the same for all layouts, which take turns."""
    rng = np.random.default_rng(1)
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(count):
        box = tuple(slice(start, start + edge) for start in (int(rng.integers(n - edge + 1)) for n in shape))
        results = []
        for name, layout in layouts.items():
            touched, _, _ = cut_once(layout, box, mmap.MADV_RANDOM)
            read, cold, result = cut_once(layout, box, mmap.MADV_NORMAL)
            results.append(result)
            for key, value in (("touched", touched), ("read", read), ("cold", cold)):
                found.setdefault((name, key), []).append(value)
        assert all(
            np.array_equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True)
        )
    for _ in range(3):
        for name, layout in layouts.items():
            image, truth = layout.opened(np.memmap(layout.path, np.uint8, "r"))
            np.asarray(image), np.asarray(truth)  # all of it in memory
            for _ in range(count):
                box = tuple(
                    slice(start, start + edge) for start in (int(rng.integers(n - edge + 1)) for n in shape)
                )
                began = time.perf_counter()
                network_input(image, truth, box)
                found.setdefault((name, "warm"), []).append(time.perf_counter() - began)
    base = {key: statistics.median(found["slices first", key]) for key in ("touched", "read", "cold", "warm")}
    print(
        "\n| | touched MB | read MB | cold ms | warm ms | slices first over it |\n|---|---|---|---|---|---|"
    )
    for name in layouts:
        own = {key: statistics.median(found[name, key]) for key in base}
        over = " / ".join(f"{base[key] / own[key]:.2f}" for key in base)
        print(
            f"| {name} | {own['touched'] / 1e6:.2f} | {own['read'] / 1e6:.2f} | {own['cold'] * 1e3:.1f} | "
            f"{own['warm'] * 1e3:.2f} | {over} |"
        )


def cut_once(layout: Layout, box: tuple[slice, ...], advice: int) -> tuple[int, float, tuple[Array, Array]]:
    """Cut a window of a file of which nothing is in memory; bytes that are then, and seconds."""
    handle = os.open(layout.path, os.O_RDONLY)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        mapped = mmap.mmap(handle, 0, mmap.MAP_SHARED, mmap.PROT_READ)
    finally:
        os.close(handle)
    mapped.madvise(advice)
    held = np.frombuffer(mapped, np.uint8)
    assert resident(held) == 0, "the file is in memory; is it on a disk?"
    began = time.perf_counter()
    result = network_input(*layout.opened(held), box)
    seconds = time.perf_counter() - began
    return resident(held), seconds, result


def network_input(image: Any, truth: Any, box: tuple[slice, ...]) -> tuple[Array, Array]:
    """A window as training makes it: intensities scaled in place of the result, labels copied."""
    window = np.empty((1, *(part.stop - part.start for part in box)), np.float32)
    window[...] = image[(slice(None), *box)]
    window -= SHIFT
    window /= SCALE
    index = box if truth.ndim == 3 else (0, *box)
    return window, np.array(truth[index])


def resident(held: Array) -> int:
    """Bytes of a map that are in memory."""
    pages = -(-len(held) // PAGE)
    state = (ctypes.c_ubyte * pages)()
    if _libc.mincore(ctypes.c_void_p(held.ctypes.data), ctypes.c_size_t(len(held)), state):
        raise OSError(ctypes.get_errno(), "mincore")
    return int((np.frombuffer(state, np.uint8) & 1).sum()) * PAGE


if __name__ == "__main__":
    main()
