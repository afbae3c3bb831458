"""The store and data sets on a real S3 server (SeaweedFS)."""

import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from workers.data.dataset import open_dataset
from workers.data.garbage import find_garbage, remove_garbage
from workers.data.ingest import ingest
from workers.data.transfer import copy_dataset
from workers.data.verify import verify_dataset
from workers.errors import DataError, MissingKeyError, StoreError
from workers.store import S3Store, open_store


@pytest.fixture
def location(s3: Any) -> str:
    return f"s3://{s3.bucket}/{uuid.uuid4().hex}"


def test_a_bucket_keeps_what_is_put(location: str) -> None:
    store = open_store(location)
    data = np.random.default_rng(0).bytes(3_000_000)
    assert store.put("a/b.bin", data)
    assert store.get("a/b.bin") == data
    assert store.exists("a/b.bin") and store.size("a/b.bin") == len(data)
    assert store.local_path("a/b.bin") is None
    store.put("d", b"")
    assert store.get("d") == b""
    assert store.list() == ("a/b.bin", "d") and store.list("a/") == ("a/b.bin",)
    store.delete("a/b.bin")
    store.delete("a/b.bin")
    assert not store.exists("a/b.bin")
    with pytest.raises(MissingKeyError, match=r"a/b.bin: nothing there"):
        store.get("a/b.bin")
    with pytest.raises(MissingKeyError):
        store.size("a/b.bin")


def test_conditions_hold(location: str) -> None:
    store = open_store(location)
    assert store.put("key", b"first", if_absent=True)
    assert not store.put("key", b"second", if_absent=True)
    assert store.get("key") == b"first"
    assert not store.swap("ref", b"b", b"a")
    assert store.swap("ref", b"a", None)
    assert not store.swap("ref", b"b", None)
    assert store.swap("ref", b"b", b"a")
    assert store.get("ref") == b"b"
    assert set(store.list()) == {"key", "ref"}


def test_of_many_writers_one_wins(location: str) -> None:
    store = open_store(location)
    store.put("ref", b"0")
    won: list[int] = []

    def write(number: int) -> None:
        if store.swap("ref", f"{number + 1}".encode(), b"0"):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_missing_bucket_is_named(s3: Any) -> None:
    store = open_store("s3://no-such-bucket/data")
    for act in (
        lambda: store.get("key"),
        lambda: store.put("key", b""),
        store.list,
        lambda: store.exists("key"),
    ):
        with pytest.raises(StoreError, match=f"bucket 'no-such-bucket' not found at {s3.endpoint}"):
            act()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "refused"),
        ({"AWS_ACCESS_KEY_ID": "wrong-key"}, "refused"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no credentials; set AWS_ACCESS_KEY_ID"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "nothing answers at http://127.0.0.1:1"),
    ],
)
def test_wrong_access_is_explained_without_a_secret(location: str, change: dict[str, str], says: str) -> None:
    """In a process of its own, since a client keeps the credentials it began with."""
    code = (
        "import sys\n"
        "from workers.errors import StoreError\n"
        "from workers.store import open_store\n"
        "try:\n    open_store(sys.argv[1]).get('key')\n"
        "except StoreError as error:\n    print(error)\n"
    )
    env = {name: value for name, value in {**os.environ, **change, "HOME": "/nonexistent"}.items() if value}
    done = subprocess.run(
        [sys.executable, "-c", code, location], env=env, capture_output=True, text=True, timeout=300
    )
    assert says in done.stdout, done.stderr
    assert "wrong-" not in done.stdout and "test-secret" not in done.stdout


def test_a_data_set_in_a_bucket(location: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        for kind, values in (
            ("images", rng.integers(0, 256, (16, 16), dtype=np.uint8)),
            ("masks", rng.integers(0, 2, (16, 16), dtype=np.uint8)),
        ):
            (tmp_path / "source" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(tmp_path / "source" / kind / f"{number:02d}.png")
    with pytest.raises(DataError, match="no data set there"):
        open_dataset(location)
    manifest = ingest(tmp_path / "source", location)
    assert ingest(tmp_path / "source", location) == manifest
    assert ingest(tmp_path / "source", str(tmp_path / "local")).digest == manifest.digest

    cache = tmp_path / "cache"
    dataset = open_dataset(location, digest=manifest.digest, cache=cache)
    local = open_dataset(str(tmp_path / "local"))
    for split in manifest.splits:
        for id in dataset.ids(split):
            assert np.array_equal(dataset.case(id).image, local.case(id).image)
    assert len(list(cache.glob("*/*.arrow"))) == len(manifest.shards)

    shard = manifest.shards[0]
    copy = cache / shard.sha256[:2] / f"{shard.sha256}.arrow"
    copy.write_bytes(copy.read_bytes()[:-1])
    open_dataset(location, cache=cache).case(shard.ids[0])
    assert copy.stat().st_size == shard.num_bytes, "a damaged copy is fetched again"

    store = open_store(location)
    broken = bytearray(store.get(shard.key))
    broken[len(broken) // 2] ^= 1
    store.put(shard.key, bytes(broken))
    copy.unlink()
    with pytest.raises(DataError, match="differ from the manifest's sha256 in 3 tries"):
        open_dataset(location, cache=cache).case(shard.ids[0])
    assert not copy.exists()


def test_verify_reads_a_bucket(location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGSEARCH_CACHE", str(tmp_path / "cache"))
    for number in range(6):
        for kind in ("images", "masks"):
            (tmp_path / "source" / kind).mkdir(parents=True, exist_ok=True)
            values = np.full((8, 8), number % 2, dtype=np.uint8)
            values[number, 0] = 1 - number % 2
            Image.fromarray(values).save(tmp_path / "source" / kind / f"{number}.png")
    ingest(tmp_path / "source", location)
    assert verify_dataset(location).is_whole


def test_an_ingest_that_was_cut_off_sends_no_finished_shard_again(
    location: str, red_pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    put = S3Store.put

    def counted(self: S3Store, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        sent.append(key)
        return put(self, key, data, if_absent=if_absent)

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "write" and done == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(S3Store, "put", counted)
    with pytest.raises(KeyboardInterrupt):
        ingest(red_pictures, location, on_progress=stop, shard_bytes=1, jobs=1)
    first = set(sent)
    assert len(first) == len(sent) == 5
    manifest = ingest(red_pictures, location, shard_bytes=1, jobs=1)
    assert sorted(key for key in sent if key.startswith("objects/")) == sorted(
        shard.key for shard in manifest.shards
    )
    sent.clear()
    assert ingest(red_pictures, location, shard_bytes=1, jobs=1) == manifest and sent == []


def test_copies_and_garbage_of_a_bucket(location: str, red_pictures: Path, tmp_path: Path) -> None:
    manifest = ingest(red_pictures, str(tmp_path / "set"), shard_bytes=1)
    first = copy_dataset(str(tmp_path / "set"), location)
    assert (first.sent, first.found) == (12, 0) and verify_dataset(location).is_whole
    store = open_store(location)
    store.delete(manifest.shards[3].key)
    assert copy_dataset(str(tmp_path / "set"), location).sent == 1
    back = copy_dataset(location, str(tmp_path / "back"))
    assert back.manifest == manifest and verify_dataset(str(tmp_path / "back")).is_whole

    store.put("objects/left.arrow", b"x" * 100)
    assert 0 <= store.age_s("objects/left.arrow") < 60
    assert find_garbage(location, older_than_s=60).young == 1
    found = find_garbage(location, older_than_s=0)
    assert (found.keys, found.num_bytes) == (("objects/left.arrow",), 100)
    remove_garbage(location, found)
    assert not store.exists("objects/left.arrow") and verify_dataset(location).is_whole
