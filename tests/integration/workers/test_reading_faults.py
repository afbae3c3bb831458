"""Damage in the bucket, in the node's cache and in a folder; a store that misbehaves while a data set is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from bad_store import BUCKET, BadStore
from small_sets import all_ids, fingerprint, make_set, serve

from workers.data.dataset import Dataset, open_dataset
from workers.data.manifest import Manifest, ShardInfo
from workers.data.shard_cache import CacheCounts, ShardCache
from workers.errors import DataError, StoreError
from workers.local_store import LocalStore
from workers.store import Store

FLIPS, CUTS = 1000, 100


class Bucket(LocalStore):
    """A store whose values are no local files, as on S3, without a server in between."""

    def local_path(self, key: str) -> None:
        return None


@dataclass(frozen=True)
class Place:
    """One shard of a data set at a place that can be damaged.

    Attributes:
        file: The bytes to damage.
        whole: The same, whole.
        is_cache: Whether the place is a cache in front of a whole bucket.
    """

    location: str
    store: Store
    manifest: Manifest
    shard: ShardInfo
    file: Path
    whole: bytes
    cache: Path
    truth: str
    is_cache: bool

    def read(self) -> tuple[str, CacheCounts]:
        """A case of the shard, read by a process that knows nothing yet."""
        dataset = Dataset(self.location, self.manifest, store=self.store, cache=ShardCache(self.cache))
        return fingerprint(dataset, self.shard.ids[0]), dataset.cache_counts

    def detects(self, damaged: bytes) -> bool:
        """Whether damage is found before a case is delivered; a cache is repaired, too."""
        self.file.write_bytes(damaged)
        try:
            got, counts = self.read()
        except DataError as error:
            assert self.shard.sha256 in str(error)
            found = not self.is_cache
        else:
            found = self.is_cache and got == self.truth and counts.damaged == 1
            found = found and self.file.read_bytes() == self.whole
        self.file.write_bytes(self.whole)
        return found


@pytest.fixture(params=["folder", "bucket", "cache"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    kind: Literal["folder", "bucket", "cache"] = request.param
    location = make_set(tmp_path)
    manifest = open_dataset(location).manifest
    shard = manifest.shards[0]
    cache = tmp_path / "cache"
    store: Store = LocalStore(Path(location)) if kind == "folder" else Bucket(Path(location))
    truth = fingerprint(open_dataset(location), shard.ids[0])
    file = Path(location) / shard.key
    if kind == "cache":
        Dataset(location, manifest, store=store, cache=ShardCache(cache)).case(shard.ids[0])
        file = cache / shard.sha256[:2] / f"{shard.sha256}.arrow"
    if kind == "bucket":
        (tmp_path / "no_cache").write_bytes(b"")
        cache = tmp_path / "no_cache" / "inside"  # nothing may come from a copy
    whole = file.read_bytes()
    return Place(location, store, manifest, shard, file, whole, cache, truth, kind == "cache")


def test_every_flipped_bit_is_found(place: Place, request: pytest.FixtureRequest) -> None:
    rng = np.random.default_rng(7)
    found = 0
    for bit in rng.choice(len(place.whole) * 8, size=FLIPS, replace=False).tolist():
        broken = bytearray(place.whole)
        broken[bit // 8] ^= 1 << bit % 8
        found += place.detects(bytes(broken))
    print(f"{request.node.name}: {found} of {FLIPS} flipped bits found in {len(place.whole)} bytes")
    assert found == FLIPS
    assert place.read()[0] == place.truth


def test_every_truncation_is_found(place: Place, request: pytest.FixtureRequest) -> None:
    rng = np.random.default_rng(8)
    cuts = [1, 2, len(place.whole), *rng.integers(3, len(place.whole), CUTS - 3).tolist()]
    found = sum(place.detects(place.whole[: len(place.whole) - cut]) for cut in cuts)
    print(f"{request.node.name}: {found} of {CUTS} truncations found")
    assert found == CUTS


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BadStore]:
    with BadStore() as server:
        for name, value in {**server.env, "SEGSEARCH_CACHE": str(tmp_path / "cache")}.items():
            monkeypatch.setenv(name, value)
        serve(make_set(tmp_path), server)
        yield server


REMOTE = f"s3://{BUCKET}/set"


def truth(tmp_path: Path) -> dict[str, str]:
    local = open_dataset(str(tmp_path / "set"))
    return {id: fingerprint(local, id) for id in all_ids(local)}


def test_swapped_shards_are_found(server: BadStore) -> None:
    first, second, *_ = open_dataset(REMOTE).manifest.shards
    one, two = f"set/{first.key}", f"set/{second.key}"
    server.objects[one], server.objects[two] = server.objects[two], server.objects[one]
    for shard in (first, second):
        with pytest.raises(
            DataError, match=rf"{shard.key}: \d+ bytes that differ from the manifest's sha256 in 3"
        ):
            open_dataset(REMOTE).case(shard.ids[0])


def test_a_shard_of_another_data_set_is_found(server: BadStore, tmp_path: Path) -> None:
    """Whole by its own manifest, under a key of this one."""
    other = open_dataset(make_set(tmp_path / "other", size=12))
    shard = open_dataset(REMOTE).manifest.shards[0]
    server.objects[f"set/{shard.key}"] = (tmp_path / "other/set" / other.manifest.shards[0].key).read_bytes()
    with pytest.raises(DataError, match=f"{shard.key}: .* differ from the manifest's sha256"):
        open_dataset(REMOTE).case(shard.ids[0])


def test_an_edited_manifest_is_refused(server: BadStore) -> None:
    key = f"set/{open_dataset(REMOTE).manifest.key}"
    server.objects[key] = server.objects[key].replace(b'"rows":2', b'"rows":3', 1)
    with pytest.raises(DataError, match="altered since it was written"):
        open_dataset(REMOTE)


def test_a_missing_shard_is_named(server: BadStore) -> None:
    shard = open_dataset(REMOTE).manifest.shards[0]
    del server.objects[f"set/{shard.key}"]
    with pytest.raises(DataError, match=f"{REMOTE}/{shard.key}: shard missing"):
        open_dataset(REMOTE).case(shard.ids[0])


@pytest.mark.parametrize("fault", ["short", "reset", "busy"])
def test_a_faulty_server_changes_no_case(
    server: BadStore, tmp_path: Path, fault: Literal["short", "reset", "busy"]
) -> None:
    dataset = open_dataset(REMOTE)
    setattr(server.faults, fault, 2)
    server.requests.clear()
    assert {id: fingerprint(dataset, id) for id in all_ids(dataset)} == truth(tmp_path)
    shards = len(dataset.manifest.shards)
    print(f"{fault}: {shards} shards, {server.requests['GET']} requests")
    assert server.requests["GET"] == shards + 2
    assert dataset.cache_counts.misses == shards


def test_credentials_that_expire_in_an_epoch_lose_and_repeat_no_case(
    server: BadStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = truth(tmp_path)
    dataset = open_dataset(REMOTE)
    seen: list[tuple[str, str]] = []
    for number, id in enumerate(all_ids(dataset)):
        if number == 3:
            server.faults.valid_keys = frozenset({"second-key"})
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "second-key")
        seen.append((id, fingerprint(dataset, id)))
    assert seen == list(expected.items())
    assert (
        server.requests["GET"] == len(dataset.manifest.shards) + 3
    )  # manifest, reference, and the one refused
    server.faults.valid_keys = frozenset({"third-key"})
    with pytest.raises(StoreError, match="refused the credentials") as caught:
        open_dataset(REMOTE)
    assert "-key" not in str(caught.value) and "hidden" not in str(caught.value)


def test_opening_reads_the_manifest_only(server: BadStore, tmp_path: Path) -> None:
    server.requests.clear()
    open_dataset(REMOTE)
    assert server.requests == {"GET": 2} and not list(tmp_path.glob("cache/*/*.arrow"))


def test_a_limit_below_a_shard_is_told_at_once(server: BadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    largest = max(shard.num_bytes for shard in open_dataset(REMOTE).manifest.shards)
    monkeypatch.setenv("SEGSEARCH_CACHE_LIMIT", "1kB")
    with pytest.raises(DataError, match=f"1000 bytes, but the largest shard of {REMOTE} has {largest} bytes"):
        open_dataset(REMOTE)
    monkeypatch.setenv("SEGSEARCH_CACHE_LIMIT", "plenty")
    with pytest.raises(DataError, match="'plenty' is no size"):
        open_dataset(REMOTE)
