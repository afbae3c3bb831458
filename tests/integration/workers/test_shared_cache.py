"""Several processes of a node on one cache: killed, short of room, started in every way."""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_store import BUCKET, BadStore
from small_sets import all_ids, fingerprint, make_set, serve

from workers.data.dataset import Dataset, open_dataset
from workers.file_lock import alone

REMOTE = f"s3://{BUCKET}/set"
PROCESSES = 8
TESTS = Path(__file__).parents[2]

# Reads cases at random until a time, compares each with what it should be, and tells what it did.
READER = """
import json, random, sys, time
from dataclasses import asdict
from small_sets import all_ids, fingerprint
from workers.data.dataset import open_dataset

expected, draw = json.loads(sys.argv[1]), random.Random(int(sys.argv[2]))
dataset, reads = open_dataset("s3://tests/set"), 0
print("open", flush=True)
end = float(sys.stdin.readline())
while time.time() < end:
    id = draw.choice(sorted(expected))
    if fingerprint(dataset, id) != expected[id]:
        sys.exit(f"case {id} is wrong")
    reads += 1
print(json.dumps({"reads": reads, **asdict(dataset.cache_counts)}))
"""

READ_ALL = """
import json, sys
from dataclasses import asdict
from small_sets import all_ids, fingerprint
from workers.data.dataset import open_dataset

dataset = open_dataset("s3://tests/set")
print("open", flush=True)
sys.stdin.readline()
got = {id: fingerprint(dataset, id) for id in all_ids(dataset)}
print(json.dumps([got, asdict(dataset.cache_counts)]))
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BadStore]:
    with BadStore() as server:
        paths = os.pathsep.join([str(TESTS / "support"), str(TESTS.parent)])
        more = {"SEGSEARCH_CACHE": str(tmp_path / "cache"), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        for name, value in {**server.env, **more}.items():
            monkeypatch.setenv(name, value)
        serve(make_set(tmp_path, cases=36, size=64, shard_bytes=60_000), server)
        server.requests.clear()
        yield server


def truth(tmp_path: Path) -> dict[str, str]:
    local = open_dataset(str(tmp_path / "set"))
    return {id: fingerprint(local, id) for id in all_ids(local)}


def start(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """A process that waits for a line when its data set is open."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_open(reader: "subprocess.Popen[str]") -> None:
    assert reader.stdout is not None
    assert reader.stdout.readline() == "open\n", reader.communicate()[1]


def go(reader: "subprocess.Popen[str]", line: object = "") -> None:
    assert reader.stdin is not None
    reader.stdin.write(f"{line}\n")
    reader.stdin.flush()


def test_a_node_downloads_each_shard_once(server: BadStore, tmp_path: Path) -> None:
    """Four processes that begin together, and one that comes later."""
    server.faults.delay_s = 0.05
    expected, shards = truth(tmp_path), open_dataset(REMOTE).manifest.shards
    readers = [start(READ_ALL) for _ in range(4)]
    for reader in readers:
        wait_until_open(reader)
    for reader in readers:
        go(reader)
    done = [reader.communicate(timeout=60) for reader in readers]
    late = start(READ_ALL)
    go(late)
    told = [json.loads(out.splitlines()[-1]) for out, _ in [*done, late.communicate(timeout=60)]]
    assert all(got == expected for got, _ in told)
    counts = [count for _, count in told]
    misses, waited = sum(count["misses"] for count in counts), sum(count["wait_s"] for count in counts)
    print(f"{len(counts)} processes, {len(shards)} shards, {misses} downloads, {waited:.1f} s waited in all")
    assert misses == len(shards) == len(list((tmp_path / "cache").glob("*/*.arrow")))
    assert server.requests["GET"] == len(shards) + 2 * (len(counts) + 1)
    assert waited > 0 and counts[-1]["hits"] == len(shards) and counts[-1]["wait_s"] == 0


class Watch:
    """The most bytes that a cache held, looked at every few milliseconds, while nobody may evict or reserve."""

    def __init__(self, folder: Path) -> None:
        self.most = 0
        self._folder = folder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(0.005):
            sizes = {}
            with alone(self._folder / "room.lock", patience_s=60, keep=True):
                for path in self._folder.glob("*/*"):
                    with contextlib.suppress(FileNotFoundError):  # a download that is renamed counts once
                        status = path.stat()
                        sizes[status.st_ino] = status.st_size
            self.most = max(self.most, sum(sizes.values()))

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        return self.most


@pytest.mark.parametrize("seconds", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_eight_processes_on_a_cache_of_two_shards(
    server: BadStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    """Random access, and each second or so one of them is killed and replaced."""
    expected, shards = truth(tmp_path), open_dataset(REMOTE).manifest.shards
    largest = max(shard.num_bytes for shard in shards)
    limit = 2 * largest
    monkeypatch.setenv("SEGSEARCH_CACHE_LIMIT", str(limit))
    draw = random.Random(0)
    readers = [start(READER, json.dumps(expected), seed) for seed in range(PROCESSES)]
    (tmp_path / "cache").mkdir(exist_ok=True)
    watch = Watch(tmp_path / "cache")
    for reader in readers:
        wait_until_open(reader)
    killed, end = 0, time.time() + seconds
    for reader in readers:
        go(reader, end)
    while time.time() < end - 2:
        time.sleep(draw.uniform(0.3, 1.5))
        victim = readers.pop(draw.randrange(len(readers)))
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        killed += 1
        readers.append(start(READER, json.dumps(expected), 100 + killed))
        go(readers[-1], end)
    counts = []
    for reader in readers:
        out, err = reader.communicate(timeout=60)
        assert reader.returncode == 0, err
        assert err.count("has no room") <= 1 and "Traceback" not in err
        counts.append(json.loads(out.splitlines()[-1]))
    most = watch.stop()
    total = {name: round(sum(count[name] for count in counts), 1) for name in counts[0]}
    print(
        f"{seconds} s, {killed} killed, {len(shards)} shards, at most {most} bytes of a limit of {limit}: {total}"
    )
    assert killed >= seconds // 4 + 1 and total["reads"] > 50 and total["hits"] > 0 and total["evictions"] > 0
    assert limit - largest < most <= limit

    after = open_dataset(REMOTE)
    assert {id: fingerprint(after, id) for id in expected} == expected
    assert after.cache_counts.uncached == 0, "what the killed ones held is free again"
    left_over = [path.name for path in (tmp_path / "cache").glob("*/*") if path.suffix != ".arrow"]
    assert not left_over


def test_a_download_that_is_killed_blocks_nobody(server: BadStore, tmp_path: Path) -> None:
    """Killed at six moments of its first reads."""
    server.faults.delay_s = 0.02
    expected = truth(tmp_path)
    for number in range(6):
        reader = start(READER, json.dumps(expected), number)
        wait_until_open(reader)
        go(reader, time.time() + 60)
        time.sleep(0.01 * number)
        reader.send_signal(signal.SIGKILL)
        reader.communicate()
        begin = time.monotonic()
        dataset = open_dataset(REMOTE)
        assert {id: fingerprint(dataset, id) for id in expected} == expected
        assert time.monotonic() - begin < 5 and dataset.cache_counts.uncached == 0
        for path in (tmp_path / "cache").glob("*/*.arrow"):
            path.unlink()


def _read(dataset: Dataset, ids: list[str]) -> list[str]:
    return [fingerprint(dataset, id) for id in ids]


def _take(environment: dict[str, str]) -> None:
    os.environ.update(environment)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 warns where threads run
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_every_way_to_start_processes(
    server: BadStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The parent has a client, maps and locks by then; its children share none of them, and all end soon."""
    expected = truth(tmp_path)
    dataset = open_dataset(REMOTE)
    half = sorted(expected)[: len(expected) // 2]
    assert _read(dataset, half) == [expected[id] for id in half]
    begin = time.monotonic()
    context = multiprocessing.get_context(method)
    # An earlier test may have started the fork server, with the environment of that time.
    with context.Pool(2, initializer=_take, initargs=(dict(os.environ),)) as pool:
        got = pool.starmap(_read, [(dataset, sorted(expected)[start::3]) for start in range(3)])
        pool.close()
        pool.join()
    took_s = time.monotonic() - begin
    assert got == [[expected[id] for id in sorted(expected)[start::3]] for start in range(3)]
    print(f"{method}: same {len(expected)} cases, ended after {took_s:.1f} s")
    assert took_s < 10
