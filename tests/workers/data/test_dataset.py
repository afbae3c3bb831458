import json
from pathlib import Path

import numpy as np
import pytest

from workers.data.dataset import Dataset, open_dataset
from workers.data.ingest import ingest
from workers.data.verify import describe, verify_dataset
from workers.errors import DataError


@pytest.fixture
def location(images: Path, tmp_path: Path) -> str:
    ingest(images, str(tmp_path / "set"))
    return str(tmp_path / "set")


def read_all(dataset: Dataset) -> None:
    for split in dataset.manifest.splits:
        for id in dataset.ids(split):
            dataset.case(id)


def test_a_case_is_fresh_and_writable(location: str) -> None:
    dataset = open_dataset(location)
    id = dataset.ids("train")[0]
    case = dataset.case(id)
    assert case.image.shape == (3, 8, 10) and case.image.dtype == np.uint8
    assert case.labels is not None and case.labels.shape == (8, 10)
    before = case.image.copy()
    case.image[:] = 0
    case.labels[:] = 0
    assert np.array_equal(dataset.case(id).image, before)


def test_what_a_data_set_says_of_itself(location: str) -> None:
    dataset = open_dataset(location)
    assert (dataset.num_classes, dataset.num_channels, dataset.ndim, dataset.symmetries) == (3, 3, 2, (1,))
    assert dataset.ids("train") == tuple(sorted(dataset.ids("train")))
    told = describe(dataset)
    assert json.loads(json.dumps(told)) == told
    assert sum(info["share"]["train"] for info in told["classes"]) == pytest.approx(1)
    with pytest.raises(DataError, match="no split 'dev'; this data set has train, validation, test"):
        dataset.ids("dev")
    with pytest.raises(DataError, match="no case 'nobody'"):
        dataset.case("nobody")


def test_a_whole_data_set_verifies(location: str) -> None:
    report = verify_dataset(location)
    assert report.is_whole and report.cases == 12 and report.shards == 3


def test_every_flipped_bit_is_found(location: str) -> None:
    """200 random bits, one at a time, anywhere in a shard."""
    dataset = open_dataset(location)
    shard = max(dataset.manifest.shards, key=lambda shard: shard.num_bytes)
    path = Path(location) / shard.key
    whole = path.read_bytes()
    rng = np.random.default_rng(7)
    for bit in rng.choice(len(whole) * 8, size=200, replace=False).tolist():
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        with pytest.raises(DataError, match="differs from its sha256"):
            open_dataset(location).case(shard.ids[0])
    path.write_bytes(whole)
    open_dataset(location).case(shard.ids[0])


@pytest.mark.parametrize("cut", [1, 100, None])
def test_a_short_shard_is_told_with_both_sizes(location: str, cut: int | None) -> None:
    dataset = open_dataset(location)
    shard = dataset.manifest.shards[0]
    path = Path(location) / shard.key
    whole = path.read_bytes()
    path.write_bytes(whole[: -(cut or len(whole) // 2)])
    with pytest.raises(DataError, match=f"bytes, the manifest says {shard.num_bytes}"):
        dataset.case(shard.ids[0])
    assert not verify_dataset(location).is_whole
    path.unlink()
    with pytest.raises(DataError, match="shard missing"):
        open_dataset(location).case(shard.ids[0])


def test_swapped_shards_are_found(location: str) -> None:
    first, second, *_ = open_dataset(location).manifest.shards
    one, two = (Path(location) / shard.key for shard in (first, second))
    one_bytes, two_bytes = one.read_bytes(), two.read_bytes()
    one.write_bytes(two_bytes)
    two.write_bytes(one_bytes)
    with pytest.raises(DataError):
        read_all(open_dataset(location))
    assert len(verify_dataset(location).problems) == 2


def test_an_edited_manifest_is_refused(location: str) -> None:
    key = open_dataset(location).manifest.key
    path = Path(location) / key
    body = json.loads(path.read_text())
    body["class_pixels"]["train"][1] += 1
    path.write_text(json.dumps(body, sort_keys=True, separators=(",", ":")))
    with pytest.raises(DataError, match="altered since it was written"):
        open_dataset(location)
    body["schema_version"] = 2
    path.write_text(json.dumps(body))
    with pytest.raises(DataError, match="schema version 2; this program reads version 1"):
        open_dataset(location)
    path.write_text("{}")
    with pytest.raises(DataError, match="not a manifest"):
        open_dataset(location)
    path.write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        open_dataset(location)


def test_without_a_manifest_there_is_no_data_set(location: str) -> None:
    dataset = open_dataset(location)
    (Path(location) / dataset.manifest.key).unlink()
    with pytest.raises(DataError, match="holds no content with digest"):
        open_dataset(location)


def test_a_raw_folder_is_refused_with_the_line_to_type(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"a raw folder.*`segsearch data ingest {images} <DEST>`"):
        open_dataset(str(images))
    absent = tmp_path / "absent"
    with pytest.raises(DataError, match=f"no data set there.*`segsearch data ingest <SOURCE> {absent}`"):
        open_dataset(str(absent))


def test_pinned_content(location: str) -> None:
    digest = open_dataset(location).digest
    other = "0" * 64
    assert open_dataset(f"{location}@sha256:{digest}").digest == digest
    assert open_dataset(location, digest=f"sha256:{digest}").digest == digest
    with pytest.raises(DataError, match=f"holds no content with digest {other}; it now holds {digest}"):
        open_dataset(location, digest=other)
    with pytest.raises(DataError, match="pinned to another content"):
        open_dataset(f"{location}@sha256:{digest}", digest=other)
    with pytest.raises(DataError, match="64 hexadecimal digits"):
        open_dataset(f"{location}@sha256:abc")
