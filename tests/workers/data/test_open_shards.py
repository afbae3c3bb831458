"""What a process keeps open, and what it checks again."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from workers.data.format import encode_row
from workers.data.manifest import ShardInfo
from workers.data.open_shards import MAX_OPEN, OpenShards
from workers.data.shard_cache import ShardCache
from workers.data.writer import encode_shard, publish_shard
from workers.errors import DamagedShardError
from workers.local_store import LocalStore

DIGEST = "a" * 64


class Bucket(LocalStore):
    """A store whose values are no local files."""

    def local_path(self, key: str) -> None:
        return None


def put_shard(store: LocalStore, seed: int, *, rows: int = 16) -> ShardInfo:
    """A shard with two batches of eight cases of 60 kB."""
    rng = np.random.default_rng(seed)
    cases = [
        encode_row(
            f"case{seed:03d}{row:02d}",
            "train",
            image=rng.integers(0, 256, (1, 60, 1000), dtype=np.uint8),
            picture=None,
            codec="raw+zstd",
            labels=None,
            spacing=None,
            affine=None,
            group=None,
        )
        for row in range(rows)
    ]
    info, data = encode_shard(cases, DIGEST)
    publish_shard(store, info, data)
    return info


def copy_of(cache: Path, info: ShardInfo) -> Path:
    return cache / info.sha256[:2] / f"{info.sha256}.arrow"


def damage(path: Path, offset: int, *, same_time: bool) -> None:
    """Change a byte in place; with ``same_time`` the file does not show it."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
    if same_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def is_open(path: Path) -> bool:
    return str(path) in Path("/proc/self/maps").read_text()


def test_a_process_keeps_a_sixteenth_of_the_cache_open(tmp_path: Path) -> None:
    store, cache = Bucket(tmp_path / "set"), tmp_path / "cache"
    infos = [put_shard(store, seed) for seed in range(4)]
    size = max(info.num_bytes for info in infos)
    shards = OpenShards(store, ShardCache(cache, limit=16 * 2 * size), DIGEST)
    for info in infos:
        shards.read(info, lambda shard: shard.row(0).shape)
    assert [is_open(copy_of(cache, info)) for info in infos] == [False, False, True, True]
    shards.read(infos[2], lambda shard: shard.row(0).shape)
    shards.read(infos[0], lambda shard: shard.row(0).shape)
    assert [is_open(copy_of(cache, info)) for info in infos] == [True, False, True, False]


def test_a_process_keeps_a_bounded_number_of_files_open(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "set")
    info = put_shard(store, 0, rows=1)
    names = [f"{number:064x}" for number in range(MAX_OPEN + 5)]
    shards = OpenShards(store, ShardCache(tmp_path / "cache"), DIGEST)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in names:  # the same bytes under many names, each open already
        shards._open[name] = shards._opened(info)
    shards.read(info, lambda shard: shard.row(0).shape)
    assert len(list(Path("/proc/self/fd").iterdir())) - before == MAX_OPEN


def test_a_closed_shard_is_hashed_again_only_if_its_file_changed(tmp_path: Path) -> None:
    """The last byte of the file belongs to no batch: only the hash of the whole file sees it."""
    store, cache = Bucket(tmp_path / "set"), tmp_path / "cache"
    one, two = put_shard(store, 1), put_shard(store, 2)
    shards = OpenShards(store, ShardCache(cache, limit=20 * one.num_bytes), DIGEST)
    path, counts = copy_of(cache, one), shards._cache

    def reopen() -> None:
        shards.read(two, lambda shard: shard.row(0).shape)
        assert not is_open(path)
        shards.read(one, lambda shard: shard.row(0).shape)

    shards.read(one, lambda shard: shard.row(0).shape)
    header = one.header_bytes - 1  # padding in front of the first batch
    damage(path, header, same_time=True)
    reopen()
    assert counts.counts.damaged == 0
    damage(path, header, same_time=True)
    damage(path, header, same_time=False)
    reopen()
    assert counts.counts.damaged == 1
    assert path.read_bytes() == (tmp_path / "set" / one.key).read_bytes()


@pytest.mark.parametrize("place", ["copy", "file"])
def test_a_batch_is_checked_when_it_is_first_read(tmp_path: Path, place: str) -> None:
    """The file changes after it was hashed, without a trace in its times."""
    store: LocalStore = (Bucket if place == "copy" else LocalStore)(tmp_path / "set")
    info, cache = put_shard(store, 1), tmp_path / "cache"
    shards = OpenShards(store, ShardCache(cache), DIGEST)
    # mypy has no type for the default of a lambda
    whole = [shards.read(info, lambda shard, row=row: bytes(shard.row(row).image)) for row in (0, 9)]  # type: ignore[misc]
    fresh = OpenShards(store, ShardCache(cache), DIGEST)
    assert fresh.read(info, lambda shard: bytes(shard.row(0).image)) == whole[0]
    path = copy_of(cache, info) if place == "copy" else tmp_path / "set" / info.key
    second = info.batches[1]
    damage(path, second.offset + second.length // 2, same_time=True)
    if place == "file":
        with pytest.raises(DamagedShardError, match="batch 1 differs from its checksum"):
            fresh.read(info, lambda shard: shard.row(9))
    else:
        assert fresh.read(info, lambda shard: bytes(shard.row(9).image)) == whole[1]
        assert fresh._cache.counts.damaged == 1


def test_another_process_opens_its_own(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "set")
    info = put_shard(store, 1)
    shards = OpenShards(store, ShardCache(tmp_path / "cache"), DIGEST)
    shape = shards.read(info, lambda shard: shard.row(0).shape)
    assert shape == (1, 60, 1000)
    other = pickle.loads(pickle.dumps(shards))  # noqa: S301  # made here
    assert not other._open and other.read(info, lambda shard: shard.row(0).shape) == shape
