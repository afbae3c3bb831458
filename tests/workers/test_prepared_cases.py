"""Prepared cases from files: the same as prepared in memory, shared by trials, remade when damaged, never in the way."""

import copy
import errno
import fcntl
import gc
import json
import os
import pickle
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from search_spaces.preprocessing import Percentile, Preprocessing, Window, ZScore
from workers import prepared_cases, prepared_folder
from workers.bricks import Bricks
from workers.contract import DataView
from workers.data.dataset import Dataset, open_dataset
from workers.levels import levels_of
from workers.places import places_of_classes
from workers.prepared_cases import SLICES, PreparedCases
from workers.prepared_file import Content
from workers.prepared_folder import PreparedGroup
from workers.preprocessing import Prepared, fit, prepare

CHOICES = (
    Preprocessing(),
    Preprocessing(crop="nonzero", spacing="median", intensity=ZScore("training")),
    Preprocessing(orientation="ras", intensity=Percentile(1, 98, "image")),
    Preprocessing(intensity=Window(50, 150)),
)


@pytest.fixture
def dataset(scans: DataView) -> Dataset:
    return open_dataset(scans.dataset)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Ids of the cases that were prepared rather than read."""
    made: list[str] = []

    def count(fitted: Any, case: Any) -> Prepared:
        made.append(case.id)
        return prepare(fitted, case)

    monkeypatch.setattr(prepared_cases, "prepare", count)
    yield made


@pytest.mark.parametrize("choices", CHOICES)
@pytest.mark.parametrize(("kind", "bricks"), [("scans", SLICES), ("scans", (5, 4, 2)), ("shots", SLICES)])
def test_a_mapped_case_is_the_one_that_was_prepared(
    kind: str,
    bricks: tuple[int, ...],
    choices: Preprocessing,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    dataset = open_dataset(request.getfixturevalue(kind).dataset)
    if dataset.ndim == 2 and choices.spacing == "median":
        choices = replace(choices, spacing="stored")
    fitted = fit(choices, dataset.manifest)
    found = PreparedCases(dataset, "train", fitted, tmp_path, bricks=bricks)
    assert [case.id for case in found] == list(dataset.ids("train")) and len(found) == len(
        dataset.ids("train")
    )
    for case in found:
        expected = prepare(fitted, dataset.case(case.id))
        assert isinstance(case.pixels, Bricks) if dataset.ndim == 3 else not case.pixels.flags.writeable
        assert case.pixels.dtype == expected.pixels.dtype
        for name in ("pixels", "labels", "truth", "image"):
            np.testing.assert_array_equal(getattr(case, name), getattr(expected, name))
        assert (case.spacing, case.stored_spacing) == (expected.spacing, expected.stored_spacing)
        for name in ("stored_shape", "turned_shape", "box", "prepared_shape"):
            assert getattr(case.undo, name) == getattr(expected.undo, name)
        assert (
            np.array_equal(case.undo.orientation, expected.undo.orientation) or case.undo.orientation is None
        )
        for name in ("shift", "scale", "low", "high"):
            np.testing.assert_array_equal(getattr(case.scaling, name), getattr(expected.scaling, name))
        assert isinstance(expected.labels, np.ndarray)
        known = places_of_classes(expected.labels, ignore_index=255)
        if dataset.ndim == 3:
            assert case.foreground is not None and case.foreground.keys() == known.keys() == {1}
            np.testing.assert_array_equal(case.foreground[1], known[1])


def test_candidates_that_differ_in_intensity_share_files(
    dataset: Dataset, tmp_path: Path, counted: list[str]
) -> None:
    for intensity in (ZScore("image"), ZScore("training"), Percentile(0.5, 99.5, "image"), Window(0, 200)):
        list(
            PreparedCases(
                dataset, "train", fit(Preprocessing(intensity=intensity), dataset.manifest), tmp_path
            )
        )
    assert counted == list(dataset.ids("train"))
    list(PreparedCases(dataset, "train", fit(Preprocessing(crop="nonzero"), dataset.manifest), tmp_path))
    assert len(counted) == 2 * len(dataset.ids("train"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data.replace(b'"pixels"', b'"pixelz"'),
    ],
    ids=["short", "empty", "no header", "flipped bit", "absurd header", "renamed"],
)
def test_a_damaged_file_is_made_again(
    dataset: Dataset, tmp_path: Path, counted: list[str], spoil: Callable[[bytes], bytes]
) -> None:
    fitted = fit(Preprocessing(), dataset.manifest)
    first = PreparedCases(dataset, "train", fitted, tmp_path)[0]
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(spoil(path.read_bytes()))
    again = PreparedCases(dataset, "train", fitted, tmp_path)[0]
    expected = prepare(fitted, dataset.case(first.id))
    for name in ("pixels", "labels"):
        np.testing.assert_array_equal(getattr(again, name), getattr(expected, name))
    assert counted == [first.id] * 2
    assert PreparedCases(dataset, "train", fitted, tmp_path)[0].id == first.id and len(counted) == 2


def test_every_flipped_bit_of_a_file_is_found(dataset: Dataset, tmp_path: Path, counted: list[str]) -> None:
    fitted = fit(Preprocessing(), dataset.manifest)
    expected = prepare(fitted, dataset.case(dataset.ids("train")[0]))
    PreparedCases(dataset, "train", fitted, tmp_path)[0]
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 200):
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        found = PreparedCases(dataset, "train", fitted, tmp_path)[0]
        np.testing.assert_array_equal(found.image, expected.image)
        np.testing.assert_array_equal(found.truth, expected.truth)


@pytest.mark.parametrize("bricks", [SLICES, (5, 4, 2)])
def test_only_the_bricks_of_a_window_are_looked_at(
    dataset: Dataset, tmp_path: Path, counted: list[str], bricks: tuple[int, ...]
) -> None:
    """All of the file but the bricks of one corner is spoiled: windows of that corner prepare nothing, another does, once."""
    fitted = fit(Preprocessing(), dataset.manifest)
    expected = prepare(fitted, dataset.case(dataset.ids("train")[0]))
    PreparedCases(dataset, "train", fitted, tmp_path, bricks=bricks)[0]
    (path,) = tmp_path.rglob("*.safetensors")
    data = bytearray(path.read_bytes())
    tensors = safetensors.numpy.load(bytes(data))
    head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    base = 8 + int.from_bytes(data[:8], "little")
    for name in ("pixels", "labels"):
        start, end = head[name]["data_offsets"]
        one = tensors[name].nbytes // tensors[f"{name}.crc32"].size
        data[base + start + one : base + end] = bytes(end - start - one)
    path.write_bytes(data)
    case = PreparedCases(dataset, "train", fitted, tmp_path, bricks=bricks)[0]
    np.testing.assert_array_equal(case.pixels[:, :4, :3, 0], np.asarray(expected.pixels)[:, :4, :3, 0])
    np.testing.assert_array_equal(case.labels[1:5, :4, 0], np.asarray(expected.labels)[1:5, :4, 0])
    assert len(counted) == 1
    np.testing.assert_array_equal(case.pixels[..., 2], np.asarray(expected.pixels)[..., 2])
    assert len(counted) == 2
    np.testing.assert_array_equal(case.pixels, expected.pixels)
    np.testing.assert_array_equal(
        PreparedCases(dataset, "train", fitted, tmp_path, bricks=bricks)[0].image, expected.image
    )
    assert len(counted) == 2


def test_where_nothing_can_be_written_cases_are_prepared_each_time(
    dataset: Dataset, tmp_path: Path, counted: list[str], recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "prepared").write_text("in the way, as a full disk is")
    cases = PreparedCases(dataset, "train", fit(Preprocessing(), dataset.manifest), tmp_path)
    assert [cases[0].id, cases[1].id, cases[0].id] == counted
    assert len(recwarn) == 1 and "prepared cases cannot be kept" in str(recwarn[0].message)


def test_mapped_cases_hold_no_file_handles(dataset: Dataset, tmp_path: Path) -> None:
    """A process usually has 1024, and a data set more cases."""
    cases = PreparedCases(dataset, "train", fit(Preprocessing(), dataset.manifest), tmp_path)
    cases[0]
    before = _num_handles()
    held = list(cases)
    assert len(held) > 1 and all(isinstance(case.pixels, Bricks) for case in held)
    assert _num_handles() == before


def test_a_file_system_without_locks_costs_no_file_handles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    group = PreparedGroup(tmp_path, "data")
    before = _num_handles()
    for _ in range(3):
        with pytest.raises(OSError, match="not supported"):
            group.hold()
    assert _num_handles() == before


def test_a_full_folder_is_not_surveyed_for_every_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A survey looks at every file of the folder, of which there may be 100,000."""
    monkeypatch.setenv("SEGSEARCH_CACHE_LIMIT", "10kB")
    group = PreparedGroup(tmp_path, "data")
    group.hold()
    surveys: list[str] = []

    def size(path: str) -> tuple[int, float]:
        surveys.append(path)
        return 2000, 0.0

    monkeypatch.setattr(prepared_folder, "_size", size)
    assert [group.admits(size) for size in (9000, 9000, 9000, 9000, 5000, 9000)] == [False] * 4 + [
        True,
        False,
    ]
    assert len(surveys) == 1


def test_what_a_full_folder_cannot_take_is_not_written_out(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGSEARCH_CACHE_LIMIT", "100B")
    made: list[Path] = []
    monkeypatch.setattr(Content, "save", lambda content, path: made.append(path))
    monkeypatch.setattr(prepared_cases, "levels_of", lambda pixels: measured.append(1) or levels_of(pixels))
    measured: list[int] = []
    cases = PreparedCases(dataset, "train", fit(Preprocessing(), dataset.manifest), tmp_path)
    assert len(list(cases)) > 2 and not made and len(measured) == 1


def test_what_a_killed_process_was_writing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGSEARCH_CACHE_LIMIT", "10kB")
    group = PreparedGroup(tmp_path, "data")
    group.hold()
    old, new = (group.path / f"x.safetensors.tmp.{number}.0" for number in (1, 2))
    for path in (old, new):
        path.write_bytes(bytes(4000))
    os.utime(old, (1, time.time() - 2 * prepared_folder.STALE_S))
    assert group.admits(5000) and not old.exists() and new.exists()


def test_it_crosses_to_another_process_without_its_maps(dataset: Dataset, tmp_path: Path) -> None:
    cases = PreparedCases(dataset, "train", fit(Preprocessing(), dataset.manifest), tmp_path)
    expected = cases[2].image
    data = pickle.dumps(cases)
    assert len(data) < 100_000
    np.testing.assert_array_equal(pickle.loads(data)[2].image, expected)  # noqa: S301  # made here


def test_memory_does_not_grow_with_what_is_read(dataset: Dataset, tmp_path: Path) -> None:
    """12 cases of 12 MB each, read through twice, take less than two of them."""
    big = np.random.default_rng(0).integers(0, 1000, (1, 128, 128, 256), dtype=np.int16)
    fitted = fit(Preprocessing(), dataset.manifest)
    case = dataset.case(dataset.ids("train")[0])

    class Many(Dataset):
        def ids(self, split: str) -> tuple[str, ...]:
            return tuple(f"case{number:02d}" for number in range(12))

        def case(self, id: str, **how: Any) -> Any:
            labels = (big[0] % 2).astype(np.uint8)
            return replace(case, id=id, image=big, labels=labels, spacing=(1.0, 1.0, 1.0))

    many = copy.copy(dataset)
    many.__class__ = Many
    cases = PreparedCases(many, "train", fitted, tmp_path)
    cases[0]
    before = _anonymous()
    for _ in range(2):
        for one in cases:
            assert one.scaling(one.pixels[:, :32, :32, :32]).shape == (1, 32, 32, 32)
    grown = _anonymous() - before
    print(f"grown by {grown / 2**20:.1f} MiB of {12 * 12 * 2} read")
    assert grown < 30 * 2**20


def _num_handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _anonymous() -> int:
    """Bytes of memory of this process that no file backs."""
    text = Path(f"/proc/{os.getpid()}/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) * 1024


def written(cache: Path) -> set[Path]:
    return set(cache.rglob("*.safetensors"))


def test_beyond_the_limit_nothing_is_added_and_what_is_there_stays(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    fitted = fit(Preprocessing(), dataset.manifest)
    path = one_file(dataset, fitted, tmp_path)
    monkeypatch.setenv("SEGSEARCH_CACHE_LIMIT", f"{3 * path.stat().st_size}B")
    limited = PreparedCases(dataset, "train", fitted, tmp_path)
    for _ in range(2):
        assert [case.id for case in limited] == list(dataset.ids("train"))
    assert len(written(tmp_path)) == 3
    assert Counter(counted) == {id: 1 if n < 3 else 2 for n, id in enumerate(dataset.ids("train"))}


def test_a_group_that_nobody_uses_makes_room_for_another(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups of one file in a limit of two and a half: the oldest idle one goes, and one that is held is not idle."""
    choices = [Preprocessing(), Preprocessing(crop="nonzero"), Preprocessing(orientation="stored")]
    first, second, third = (fit(one, dataset.manifest) for one in choices)
    script = (
        "import sys; from pathlib import Path; from workers.prepared_folder import PreparedGroup\n"
        "group = PreparedGroup(Path(sys.argv[1]), sys.argv[2]); group.hold(); print('held', flush=True); input()"
    )
    oldest = one_file(dataset, first, tmp_path)
    monkeypatch.setenv("SEGSEARCH_CACHE_LIMIT", f"{int(2.5 * oldest.stat().st_size)}B")
    idle = one_file(dataset, second, tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), oldest.parent.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        os.utime(oldest.parent / "in-use", (1, 1))
        last = one_file(dataset, third, tmp_path)
        assert oldest.exists() and last.exists() and not idle.exists()
    finally:
        holder.kill()
        holder.communicate()
    assert one_file(dataset, second, tmp_path).exists()
    assert last.exists() and not oldest.parent.exists()


def one_file(dataset: Dataset, fitted: Any, cache: Path) -> Path:
    """Where the first case lies after it was asked for."""
    before = written(cache)
    PreparedCases(dataset, "train", fitted, cache)[0]
    gc.collect()
    (path,) = written(cache) - before
    return path
