"""The node cache of one process, and what several leave for each other."""

import fcntl
import hashlib
import logging
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from workers.data.manifest import ShardInfo
from workers.data.shard_cache import LIMIT, CacheCounts, ShardBytes, ShardCache, cache_limit
from workers.errors import DataError
from workers.store import Store

SIZE = 10_000
SHARDS = [np.random.default_rng(number).bytes(SIZE) for number in range(6)]
INFOS = [ShardInfo(hashlib.sha256(data).hexdigest(), SIZE, "train", 0, ("a",), ()) for data in SHARDS]


class Remote:
    """A store that is not a folder: what ``fetch`` needs of one, and a count of what it was asked."""

    location = "s3://bucket/set"

    def __init__(self) -> None:
        self.objects = {info.key: data for info, data in zip(INFOS, SHARDS, strict=True)}
        self.asked = 0

    def local_path(self, key: str) -> None:
        return None

    def parts(self, key: str) -> Iterator[bytes]:
        self.asked += 1
        for start in range(0, len(self.objects[key]), 3000):
            yield self.objects[key][start : start + 3000]


@pytest.fixture
def remote() -> Remote:
    return Remote()


def fetch(cache: ShardCache, remote: Remote, number: int) -> ShardBytes:
    got = cache.fetch(cast(Store, remote), INFOS[number])
    assert bytes(got.data) == SHARDS[number]
    return got


def copies(folder: Path) -> list[int]:
    names = {path.name for path in folder.glob("*/*.arrow")}
    return [number for number, info in enumerate(INFOS) if f"{info.sha256}.arrow" in names]


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".arrow"]


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ("20GB", 20 * 10**9),
        ("20 gb", 20 * 10**9),
        ("1.5GiB", 3 * 2**29),
        ("512MiB", 2**29),
        ("7", 7),
        ("2TB", 2 * 10**12),
        ("3kB", 3000),
        ("", None),
    ],
)
def test_a_limit_is_read(given: str, size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, given)
    assert cache_limit() == size


@pytest.mark.parametrize("given", ["much", "-1GB", "20GBs", "1e9", "0", "0GB", "GB", "20 G B"])
def test_what_is_no_limit_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, given)
    with pytest.raises(DataError, match=f"{LIMIT}: '{given}' is no size; allowed is a number above 0"):
        cache_limit()


def test_a_shard_is_fetched_once(remote: Remote, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path)
    first = fetch(cache, remote, 0)
    assert (first.kind, first.is_verified) == ("copy", True)
    path = tmp_path / INFOS[0].sha256[:2] / f"{INFOS[0].sha256}.arrow"
    assert path.read_bytes() == SHARDS[0] and left_over(tmp_path) == ["room.lock"]
    again = fetch(cache, remote, 0)
    assert (again.kind, again.is_verified) == ("copy", False)
    assert remote.asked == 1
    assert cache.counts == CacheCounts(hits=1, misses=1, bytes_fetched=SIZE, wait_s=cache.counts.wait_s)
    other = pickle.loads(pickle.dumps(cache))  # noqa: S301  # made here
    assert other.counts == CacheCounts() and fetch(other, remote, 0).kind == "copy"


def test_the_copy_used_longest_ago_goes_first(remote: Remote, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, limit=3 * SIZE)
    for number in (0, 1, 2, 0, 3):
        fetch(cache, remote, number)
    assert copies(tmp_path) == [0, 2, 3]
    fetch(cache, remote, 4)
    assert copies(tmp_path) == [0, 3, 4] and cache.counts.evictions == 2


def test_a_copy_in_use_stays(remote: Remote, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Held by another process of the node, as it were: a lock belongs to an open file, not to a process."""
    cache, others = ShardCache(tmp_path, limit=2 * SIZE), ShardCache(tmp_path)
    held = fetch(others, remote, 0)
    for number in (1, 2, 3):
        fetch(cache, remote, number)
    assert copies(tmp_path) == [0, 3]
    held_too = fetch(others, remote, 3)
    with caplog.at_level(logging.WARNING):
        assert [fetch(cache, remote, number).kind for number in (4, 5)] == ["memory", "memory"]
    assert "has no room for 10000 bytes: 20000 of 20000 bytes are in use" in caplog.text
    assert len(caplog.records) == 1 and cache.counts.uncached == 2
    assert bytes(held.data) == SHARDS[0]
    del held, held_too
    assert fetch(cache, remote, 4).kind == "copy"
    assert copies(tmp_path) == [3, 4]


def test_only_what_the_cache_made_is_removed(remote: Remote, tmp_path: Path) -> None:
    """Files that lie beside the copies are neither counted nor touched."""
    folder = tmp_path / INFOS[0].sha256[:2]
    folder.mkdir()
    strangers = [
        tmp_path / "notes.txt",
        folder / "data.arrow",
        folder / "notes.txt",
        folder / ("g" * 64 + ".arrow"),
    ]
    for path in strangers:
        path.write_bytes(b"x" * 10 * SIZE)
    cache = ShardCache(tmp_path, limit=SIZE)
    for number in (0, 1):
        assert fetch(cache, remote, number).kind == "copy"
    assert copies(tmp_path) == [1] and all(path.exists() for path in strangers)


def test_what_dead_processes_left_is_removed(remote: Remote, tmp_path: Path) -> None:
    dead, alive = (INFOS[number].sha256 for number in (4, 5))
    left = [
        tmp_path / dead[:2] / f"{dead}.arrow.tmp.1.{'0' * 32}",
        tmp_path / dead[:2] / f"{dead}.lock",
        tmp_path / INFOS[0].sha256[:2] / f"{INFOS[0].sha256}.lock",
    ]
    live = tmp_path / alive[:2] / f"{alive}.arrow.tmp.{os.getpid()}.{'1' * 32}"
    for path in [*left, live]:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * SIZE)
    with live.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert fetch(ShardCache(tmp_path, limit=2 * SIZE), remote, 0).kind == "copy"
        assert live.exists() and not any(path.exists() for path in left)
        fetch(ShardCache(tmp_path, limit=2 * SIZE), remote, 1)
        assert copies(tmp_path) == [1], "a download that goes on counts"


def test_a_stuck_download_is_not_waited_for_for_ever(
    remote: Remote, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = tmp_path / INFOS[0].sha256[:2] / f"{INFOS[0].sha256}.lock"
    lock.parent.mkdir()
    cache = ShardCache(tmp_path, patience_s=0.1)
    with lock.open("wb") as file, caplog.at_level(logging.WARNING):
        fcntl.flock(file, fcntl.LOCK_EX)
        assert fetch(cache, remote, 0).kind == "memory"
    assert f"another process has held {lock} for 0.1 s" in caplog.text


def test_a_copy_of_another_size_is_fetched_again(remote: Remote, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path)
    fetch(cache, remote, 0)
    path = tmp_path / INFOS[0].sha256[:2] / f"{INFOS[0].sha256}.arrow"
    for wrong in (b"", SHARDS[0][:-1], SHARDS[0] + b"x"):
        path.write_bytes(wrong)
        assert fetch(cache, remote, 0).is_verified
    assert cache.counts.damaged == 3 and cache.counts.misses == 4


@pytest.mark.parametrize("wrong", [SHARDS[1], SHARDS[0][:-1], SHARDS[0] + b"x", b""])
def test_other_bytes_in_the_bucket_are_an_error(remote: Remote, tmp_path: Path, wrong: bytes) -> None:
    remote.objects[INFOS[0].key] = wrong
    with pytest.raises(DataError, match=rf"{INFOS[0].key}: {len(wrong)} bytes that differ .* in 3 tries"):
        ShardCache(tmp_path).fetch(cast(Store, remote), INFOS[0])
    assert remote.asked == 3 and copies(tmp_path) == [] and left_over(tmp_path) == ["room.lock"]


def test_a_limit_below_a_shard_is_refused(tmp_path: Path) -> None:
    ShardCache(tmp_path, limit=SIZE).require(SIZE, "s3://bucket/set")
    with pytest.raises(
        DataError, match=r"9999 bytes, but the largest shard of s3://bucket/set has 10000 bytes"
    ):
        ShardCache(tmp_path, limit=SIZE - 1).require(SIZE, "s3://bucket/set")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take away the right to write, for root, too, whom file modes do not bind."""
    places = [folder, *folder.iterdir()]
    for path in places:
        path.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path in places:
            path.chmod(0o755)


def test_a_cache_that_cannot_be_written_costs_time_only(
    remote: Remote, caplog: pytest.LogCaptureFixture
) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        folder = Path(name)
        fetch(ShardCache(folder), remote, 0)
        cache = ShardCache(folder)
        with read_only(folder), caplog.at_level(logging.WARNING):
            kinds = [fetch(cache, remote, number).kind for number in (0, 1, 1)]
    assert kinds == ["copy", "memory", "memory"]
    assert [record.getMessage() for record in caplog.records] == [
        f"cache {folder} cannot be used (Permission denied); shards are read into memory instead, again and again."
    ]


def test_a_cache_that_is_no_folder_costs_time_only(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert fetch(ShardCache(tmp_path / "file" / "cache"), remote, 0).kind == "memory"


FULL = """
import sys, resource, logging
from pathlib import Path
from test_shard_cache import Remote, fetch, copies
from workers.data.shard_cache import ShardCache
logging.basicConfig(stream=sys.stdout, format="%(message)s")
folder, fill, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
remote, cache = Remote(), ShardCache(folder, limit=10**9)
for number in range(fill):
    fetch(cache, remote, number)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print([fetch(cache, remote, number).kind for number in (4, 5)], copies(folder), cache.counts.evictions)
"""


def in_child(folder: Path, fill: int, limit: int, *, mount: str | None = None) -> str:
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[3])])
    command = [sys.executable, "-c", FULL, str(folder), str(fill), str(limit)]
    if mount is not None:
        script = f'mount -t tmpfs -o {mount} none "$1" && shift && exec "$@"'
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        command = ["unshare", *user, "--mount", "sh", "-c", script, "sh", str(folder), *command]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60
    )
    if mount is not None and "mount" in done.stderr:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk_makes_the_cache_evict(tmp_path: Path) -> None:
    """A real one: tmpfs of 12 pages holds four shards of three pages, so the fifth does not fit."""
    out = in_child(tmp_path, 4, 0, mount="size=48k")
    assert out == "['copy', 'copy'] [2, 3, 4, 5] 2\n"


def test_a_disk_without_any_room_costs_time_only(tmp_path: Path) -> None:
    out = in_child(tmp_path, 0, 0, mount="size=8k")
    assert "has no room on its disk (No space left on device)" in out and "['memory', 'memory'] [] 0" in out
    assert out.count("has no room") == 1


def test_a_limit_on_files_counts_as_a_full_disk(tmp_path: Path) -> None:
    """EFBIG stands for a quota: all copies are tried to be evicted, nothing hangs."""
    out = in_child(tmp_path, 2, SIZE - 1)
    assert "has no room on its disk (File too large)" in out and "['memory', 'memory']" in out


def test_by_default_half_of_the_free_disk_is_used(remote: Remote, tmp_path: Path) -> None:
    """The tmpfs above was limited by hand; here only that a default lets a shard in, and what one process may keep."""
    assert fetch(ShardCache(tmp_path), remote, 0).kind == "copy"
    assert ShardCache(tmp_path).lease_bytes == 2**30
    assert ShardCache(tmp_path, limit=1600).lease_bytes == 100
