"""A data set in other processes, an ingest that is killed, two ingests at once."""

import json
import multiprocessing
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workers.data.dataset import Dataset, open_dataset
from workers.data.ingest import ingest
from workers.data.verify import verify_dataset
from workers.errors import DataError

# Writes how far it came to standard output, so that the test can kill it at a chosen point.
INGEST = """
import os, signal, sys
from workers.data import ingest, spread, writer
spread.PAYS_S = 0.0  # so that processes start after the first shard
if "processes" in sys.argv:
    spread.THREADS = 1
if "before_ref" in sys.argv:
    writer.point_latest = lambda *now: os.kill(os.getpid(), signal.SIGKILL)
jobs = int(sys.argv[3])
ingest.ingest(sys.argv[1], sys.argv[2], on_progress=lambda *now: print(*now, flush=True), shard_bytes=1, jobs=jobs)
print("published", flush=True)
"""
KILLS = 20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    rng = np.random.default_rng(0)
    for number in range(24):
        for kind, values in (
            ("images", rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)),
            ("masks", rng.integers(0, 2, (32, 32), dtype=np.uint8)),
        ):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(folder / kind / f"{number:02d}.png")
    ids = [f"{number:02d}" for number in range(24)]
    (folder / "splits.json").write_text(
        json.dumps({"train": ids[:16], "validation": ids[16:20], "test": ids[20:]})
    )
    return folder


def start(source: Path, dest: Path, *more: str, jobs: int = 1) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", INGEST, str(source), str(dest), str(jobs), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def stored(dest: Path) -> dict[str, tuple[int, int]]:
    """Shards that are whole, with what changes when one is written again."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (dest / "objects").glob("*.arrow")
        if not path.name.startswith(".")
    }


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize("point", ["check 3 24", "check 24 24", "write 1 24", "write 9 24", "write 23 24"])
def test_a_killed_ingest_leaves_no_data_set_and_a_rerun_finishes(
    source: Path, tmp_path: Path, point: str
) -> None:
    undisturbed = ingest(source, str(tmp_path / "undisturbed"), shard_bytes=1)
    dest = tmp_path / "set"
    with start(source, dest) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == point:
                break
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    with pytest.raises(DataError, match=r"no data set|not an ingested data set"):
        open_dataset(str(dest))
    assert ingest(source, str(dest), shard_bytes=1).digest == undisturbed.digest
    assert verify_dataset(str(dest)).is_whole


@pytest.mark.parametrize(("jobs", "how"), [(1, "threads"), (2, "threads"), (2, "processes")])
def test_a_kill_at_any_time_leaves_all_or_nothing(
    source: Path, tmp_path: Path, jobs: int, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kills at random times of the life of an ingest, the publishing included; no shard is written twice."""
    begin = time.monotonic()
    start(source, tmp_path / "timed", how, jobs=jobs).communicate()
    whole_s = time.monotonic() - begin
    digest = open_dataset(str(tmp_path / "timed")).digest
    kept = 0
    for number, when in enumerate(np.random.default_rng(jobs).uniform(0.4, 1.0, KILLS // 2)):
        dest = tmp_path / f"set{number}"
        with start(source, dest, how, jobs=jobs) as child:
            time.sleep(whole_s * when)
            child.send_signal(signal.SIGKILL)
        try:
            assert open_dataset(str(dest)).digest == digest
            assert verify_dataset(str(dest)).is_whole
        except DataError as error:
            assert "no data set" in str(error) or "not an ingested data set" in str(error)
        before = stored(dest)
        assert ingest(source, str(dest), shard_bytes=1).digest == digest
        assert before.items() <= stored(dest).items()
        assert verify_dataset(str(dest)).is_whole
        kept += len(before)
    with capsys.disabled():
        print(
            f"\n{KILLS // 2} kills with {jobs} jobs ({how}): {kept} finished shards found again, 0 written twice"
        )


def test_processes_of_a_killed_ingest_end(source: Path, tmp_path: Path) -> None:
    with start(source, tmp_path / "set", "processes", jobs=3) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == "check 3 24":
                break
        workers = children(child.pid)
        child.send_signal(signal.SIGKILL)
    assert len(workers) == 2
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, workers
        time.sleep(0.05)


def test_a_kill_between_manifest_and_reference_leaves_the_old_content(source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "set"
    old = ingest(source, str(dest), shard_bytes=1)
    Image.fromarray(np.ones((32, 32), np.uint8)).save(source / "masks/00.png")
    with start(source, dest, "before_ref") as child:
        child.communicate()
    assert child.returncode == -signal.SIGKILL and len(list((dest / "manifests").iterdir())) == 2
    assert open_dataset(str(dest)).digest == old.digest
    assert verify_dataset(str(dest)).is_whole
    before = stored(dest)
    new = ingest(source, str(dest), shard_bytes=1)
    assert new.digest != old.digest and open_dataset(str(dest)).digest == new.digest
    assert stored(dest) == before


@pytest.mark.parametrize("jobs", [1, 2])
def test_two_ingests_at_once_agree(source: Path, tmp_path: Path, jobs: int) -> None:
    dest = tmp_path / "set"
    one, two = start(source, dest, jobs=jobs), start(source, dest, jobs=jobs)
    one.communicate()
    two.communicate()
    assert (one.returncode, two.returncode) == (0, 0)
    assert verify_dataset(str(dest)).is_whole
    assert len(list((dest / "manifests").iterdir())) == 1


def _sum(dataset: Dataset, id: str) -> int:
    return int(dataset.case(id).image.sum())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 warns where threads run
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_data_set_crosses_to_other_processes(source: Path, tmp_path: Path, method: str) -> None:
    ingest(source, str(tmp_path / "set"))
    dataset = open_dataset(str(tmp_path / "set"))
    expected = _sum(dataset, "00")
    assert _sum(pickle.loads(pickle.dumps(dataset)), "00") == expected  # noqa: S301  # made here
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.starmap(_sum, [(dataset, "00")] * 4) == [expected] * 4
