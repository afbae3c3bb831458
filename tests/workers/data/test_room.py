"""Memory of an ingest: bounded by bytes, and where it does not suffice a sentence and nothing published."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from workers.data import room
from workers.data.ingest import ingest
from workers.data.room import Room, decoded_bytes, free_bytes
from workers.data.spread import LocalSpread
from workers.errors import DataError
from workers.source import SampleFiles, open_source
from workers.sources.image_masks import ImageMasks

held: list[int] = []
most: list[int] = []
lock = threading.Lock()


@dataclass(frozen=True)
class Task:
    size: int

    def held_bytes(self) -> int:
        return self.size


def work(task: Task) -> int:
    with lock:
        held.append(task.size)
        most.append(sum(held))
    time.sleep(0.01)
    with lock:
        held.remove(task.size)
    return task.size


@pytest.mark.parametrize(
    ("limit", "sizes", "expected"),
    [
        (100, [40, 40, 40, 40, 40, 40], 80),  # two at a time
        (100, [30, 300, 30, 30, 300, 30], 300),  # a large one alone: never 330
    ],
)
def test_what_is_held_at_once_is_bounded_by_bytes(limit: int, sizes: list[int], expected: int) -> None:
    most.clear()
    with LocalSpread(4, room=Room(limit)) as four:
        found = dict(four.each(work, [Task(size) for size in sizes]))
    assert [found[number] for number in range(len(sizes))] == sizes
    assert max(most) <= expected and not held


def meet(task: Task) -> None:
    both.wait(timeout=30)


both = threading.Barrier(2)


def test_what_fits_goes_at_the_same_time() -> None:
    with LocalSpread(4, room=Room(100)) as four:
        assert len(list(four.each(meet, [Task(40), Task(40)]))) == 2


def test_sizes_come_from_headers(tmp_path: Path) -> None:
    volume = nib.nifti1.Nifti1Image(np.zeros((6, 5, 4, 2), np.float32), np.eye(4))
    nib.save(volume, tmp_path / "v.nii.gz")
    Image.new("RGB", (300, 200)).save(tmp_path / "p.png")
    pages = [Image.fromarray(np.zeros((9, 8), np.uint16)) for _ in range(5)]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "m.dcm").write_bytes(b"x" * 77)
    reader = open_source("image_masks")

    def size(name: str) -> int:
        path = tmp_path / name
        return decoded_bytes(reader, SampleFiles("a", path, path, "a"))

    assert size("v.nii.gz") == 6 * 5 * 4 * 2 * 4
    assert size("p.png") == 300 * 200 * 3
    assert size("s.tif") == 9 * 8 * 2 * 5
    assert size("bad.png") == size("none.png") == 0
    assert size("m.dcm") == 2 * 77


def test_no_memory_is_a_sentence_that_no_option_skips(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ImageMasks.read

    def short(self: ImageMasks, sample: SampleFiles) -> object:
        if sample.id == "shot7":
            raise MemoryError
        return read(self, sample)

    monkeypatch.setattr(ImageMasks, "read", short)
    with pytest.raises(DataError) as caught:
        ingest(images, str(tmp_path / "set"), jobs=2, skip_bad=True)
    expected = "images/shot7.png: no memory for a case of 240 bytes; give fewer --jobs, or cut it first."
    assert str(caught.value) == expected
    assert not (tmp_path / "set").exists()


def test_what_is_free_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    free = free_bytes()
    assert 2**20 < free < 2**50
    limit = 2**40
    monkeypatch.setattr("resource.getrlimit", lambda _: (limit, limit))
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    assert abs(room._free_of_limit() - (limit - mapped)) < 2**24


_LIMITED = """
import resource, sys
from pathlib import Path
import nibabel, workers.data.part
from workers.data.ingest import ingest
from workers.errors import DataError
folder, dest, extra = sys.argv[1:]
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + int(extra),) * 2)
try:
    print(ingest(folder, dest, jobs=4).digest)
except DataError as error:
    print(error)
"""


@pytest.mark.slow
def test_an_ingest_within_a_limit_of_memory(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    for number in range(6):
        rng = np.random.default_rng(number)
        for place, values in (
            ("images", rng.normal(size=(128, 128, 100)).astype(np.float32)),
            ("labels", rng.integers(0, 2, (128, 128, 100), dtype=np.uint8)),
        ):
            (folder / place).mkdir(parents=True, exist_ok=True)
            nib.save(nib.nifti1.Nifti1Image(values, np.eye(4)), folder / place / f"v{number}.nii")
    said = []
    for extra in (2**33, 2**28, 2**25):
        command = [sys.executable, "-W", "ignore", "-c", _LIMITED]
        done = subprocess.run(
            [*command, str(folder), str(tmp_path / f"set{extra}"), str(extra)],
            capture_output=True,
            text=True,
            check=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "MALLOC_ARENA_MAX": "1",
                "SEGSEARCH_CACHE": str(tmp_path / "cache"),
            },
        )
        said.append(done.stdout.strip())
    assert len(said[0]) == 64 and said[1] == said[0], "256 MiB are enough for one volume after another"
    assert "no memory for a case of 6,553,600 bytes; give fewer --jobs" in said[2]
    assert not (tmp_path / f"set{2**25}").exists()
