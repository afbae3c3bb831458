"""Work spread over threads and processes gives the same bytes, and tells what went wrong there."""

import os
import time
from collections import Counter
from pathlib import Path
from pickle import PicklingError
from queue import SimpleQueue
from threading import Barrier, Thread, current_thread, main_thread

import pytest
from spreading import die, refuse, where

from workers.data import spread
from workers.data.ingest import ingest
from workers.data.scratch import load_rows, save_rows, scratch_folder
from workers.errors import DataError


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes take the place of threads, and start after the first task, whether it pays or not."""
    monkeypatch.setattr(spread, "THREADS", 1)
    monkeypatch.setattr(spread, "PAYS_S", 0.0)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("shape", ["images", "volumes"])
def test_any_number_of_threads_and_processes_writes_the_same_bytes(
    shape: str,
    threads: int,
    tmp_path: Path,
    at_once: None,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setattr(spread, "THREADS", threads)
    source: Path = request.getfixturevalue(shape)
    alone = ingest(source, str(tmp_path / "1"), jobs=1, shard_bytes=1)
    seen: list[tuple[str, int, int]] = []
    spread_out = ingest(
        source, str(tmp_path / "3"), jobs=3, shard_bytes=1, on_progress=lambda *now: seen.append(now)
    )
    assert spread_out == alone and len(alone.shards) == 12
    assert contents(tmp_path / "1") == contents(tmp_path / "3")
    assert seen == [(stage, done, 12) for stage in ("check", "write") for done in range(1, 13)]


@pytest.mark.parametrize("threads", [1, 3])
def test_problems_come_from_anywhere_in_the_order_of_the_ids(
    images: Path, tmp_path: Path, threads: int, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "THREADS", threads)
    for number in (3, 7, 1):
        (images / f"images/shot{number}.png").write_bytes(b"no picture")
    told = []
    for jobs in (1, 3):
        with pytest.raises(DataError, match="nothing was written") as caught:
            ingest(images, str(tmp_path / "set"), jobs=jobs, shard_bytes=1)
        told.append(caught.value.problems)
    assert told[0] == told[1] and [problem[:16] for problem in told[0]] == [
        f"images/shot{number}.png" for number in (1, 3, 7)
    ]


@pytest.mark.usefixtures("at_once")
def test_this_process_works_beside_the_others() -> None:
    with spread.LocalSpread(3) as three:
        for _ in range(2):
            found = dict(three.each(where, range(150)))
            assert sorted(found) == list(range(150))
            counts = Counter(found.values())
            assert os.getpid() in counts and len(counts) <= 3
        assert len(counts) == 3, "the second time all have started"


def test_threads_work_at_the_same_time() -> None:
    """Each of four tasks waits for the other three."""
    meeting = Barrier(4, timeout=20)

    def meet(task: int) -> int:
        meeting.wait()
        return task

    with spread.LocalSpread(9) as nine:
        assert sorted(number for number, _ in nine.each(meet, range(4))) == [0, 1, 2, 3]


def test_a_bug_in_a_thread_is_raised_where_results_are_asked_for() -> None:
    def divided(task: int) -> float:
        time.sleep(0.01)
        if current_thread() is main_thread():
            return 0.0
        return 1 / 0

    with spread.LocalSpread(2) as two, pytest.raises(ZeroDivisionError):
        list(two.each(divided, range(50)))
    assert two._waiting.empty()


@pytest.mark.usefixtures("at_once")
def test_a_task_that_cannot_be_sent_is_an_error_and_no_endless_wait() -> None:
    def pause(_task: object) -> None:  # of no module
        time.sleep(0.05)

    with spread.LocalSpread(2) as two, pytest.raises((AttributeError, PicklingError), match="pause"):
        list(two.each(pause, range(50)))


@pytest.mark.usefixtures("at_once")
def test_what_is_asked_next_is_not_mixed_with_what_was_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that hand out tasks come to know late that their own are over, while others are asked for already."""
    found: list[dict[int, int]] = []
    take_next = spread._next

    def late(waiting: "SimpleQueue[int]") -> int | None:
        if current_thread() is not asking:
            time.sleep(0.05)
        return take_next(waiting)

    def ask() -> None:
        with spread.LocalSpread(3) as three:
            found.append(dict(three.each(abs, range(5))))
            found.append(dict(three.each(where, range(20))))

    monkeypatch.setattr(spread, "_next", late)
    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(20)
    assert not asking.is_alive(), "an answer to one question went to another"
    assert found[0] == {number: number for number in range(5)}
    assert sorted(found[1]) == list(range(20)) and min(found[1].values()) > 4, "process ids"


@pytest.mark.usefixtures("at_once")
def test_a_process_that_dies_is_told_of() -> None:
    with (
        spread.LocalSpread(2) as two,
        pytest.raises(DataError, match=r"a process of the ingest died.*give fewer --jobs"),
    ):
        list(two.each(die, range(100)))


@pytest.mark.usefixtures("at_once")
def test_an_error_crosses_with_its_problems() -> None:
    with spread.LocalSpread(2) as two, pytest.raises(DataError) as caught:
        list(two.each(refuse, range(9)))
    assert caught.value.problems == ("is", "odd") and str(caught.value).startswith("five")


def test_processes_start_only_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    with spread.LocalSpread(9) as few:
        assert {pid for _, pid in few.each(where, range(9))} == {os.getpid()}, "0.1 s of work"
    monkeypatch.setattr(spread, "PAYS_S", 0.0)
    with spread.LocalSpread(spread.THREADS) as threads:
        assert {pid for _, pid in threads.each(where, range(9))} == {os.getpid()}, "threads for all jobs"
    with spread.LocalSpread(1) as one:
        assert {pid for _, pid in one.each(where, range(5))} == {os.getpid()}, "one process"


def test_jobs_below_one_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="jobs: 0 processes; allowed are 1 and more"):
        ingest(images, str(tmp_path / "set"), jobs=0)


def test_a_folder_of_a_run_that_was_killed_is_removed(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as mine:
        abandoned = mine.parent / "run-gone"
        abandoned.mkdir()
        (abandoned / "lock").touch()
        (abandoned / "0.arrow").write_bytes(b"x" * 100)
        with scratch_folder(tmp_path) as other:
            assert mine.is_dir() and other.is_dir() and not abandoned.exists()
        assert not other.exists()
    assert not mine.exists()


def test_kept_rows_that_were_altered_are_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    crc = save_rows(str(path), [])
    assert crc is not None and load_rows(str(path), crc) == []
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert load_rows(str(path), crc) is None
    assert save_rows(str(tmp_path / "missing/rows.arrow"), []) is None


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_file_that_went_away_is_named(tmp_path: Path, at_once: None, jobs: int) -> None:
    tasks = [str(tmp_path), str(tmp_path / "gone.png"), str(tmp_path)]
    with (
        pytest.raises(DataError, match=r"gone\.png: cannot be read \(No such file or directory\)"),
        spread.LocalSpread(jobs) as local,
    ):
        list(local.each(os.path.getsize, tasks))
