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
import sys
from workers.data.ingest import ingest
ingest(sys.argv[1], sys.argv[2], on_progress=lambda *now: print(*now, flush=True), shard_bytes=1)
print("published", flush=True)
"""


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


def start(source: Path, dest: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", INGEST, str(source), str(dest)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


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


def test_a_kill_at_any_time_leaves_all_or_nothing(source: Path, tmp_path: Path) -> None:
    """Ten kills spread over the life of an ingest, the publishing included."""
    begin = time.monotonic()
    start(source, tmp_path / "timed").communicate()
    whole_s = time.monotonic() - begin
    digest = open_dataset(str(tmp_path / "timed")).digest
    for number in range(10):
        dest = tmp_path / f"set{number}"
        with start(source, dest) as child:
            time.sleep(whole_s * (0.5 + 0.5 * number / 9))
            child.send_signal(signal.SIGKILL)
        try:
            assert open_dataset(str(dest)).digest == digest
            assert verify_dataset(str(dest)).is_whole
        except DataError as error:
            assert "no data set" in str(error) or "not an ingested data set" in str(error)
        assert ingest(source, str(dest), shard_bytes=1).digest == digest
        assert verify_dataset(str(dest)).is_whole


def test_two_ingests_at_once_agree(source: Path, tmp_path: Path) -> None:
    dest = tmp_path / "set"
    one, two = start(source, dest), start(source, dest)
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
