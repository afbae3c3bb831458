import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from workers.data.format import Row, encode_row, rows_of
from workers.data.manifest import ShardInfo, from_bytes, to_bytes
from workers.data.shard_cache import from_file
from workers.data.shard_file import ShardFile
from workers.data.writer import MIB, encode_shard, plan_shards
from workers.errors import DataError

DIGEST = "a" * 64


def make_rows(count: int = 20) -> list[Row]:
    rng = np.random.default_rng(0)
    return [
        encode_row(
            f"case{number:02d}",
            "train",
            image=rng.integers(0, 1000, (1, 40, 30, 40 + number), dtype=np.int16),
            picture=None,
            codec="raw+zstd",
            labels=rng.integers(0, 2, (40, 30, 40 + number), dtype=np.uint8),
            spacing=(0.1, 1.0, 2.0),
            affine=np.diag([0.1, 1.0, 2.0, 1.0]),
            group=None if number % 2 else "g",
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def shard() -> tuple[ShardInfo, bytes]:
    return encode_shard(make_rows(), DIGEST)


def test_a_shard_has_batches_of_eight_and_one_dictionary_each_column(shard: tuple[ShardInfo, bytes]) -> None:
    info, data = shard
    assert [batch.rows for batch in info.batches] == [8, 8, 4]
    assert info.header_bytes == info.batches[0].offset
    for batch in info.batches:
        assert zlib.crc32(data[batch.offset : batch.offset + batch.length]) == batch.crc32


def test_one_batch_can_be_read_from_its_range_and_the_header(shard: tuple[ShardInfo, bytes]) -> None:
    """An Arrow file from byte 8 on is a stream, so header and batch together are one."""
    info, data = shard
    place = info.batches[1]
    stream = pa.ipc.open_stream(
        data[8 : info.header_bytes] + data[place.offset : place.offset + place.length]
    )
    batch = stream.read_next_batch()
    assert batch.column("id").to_pylist() == list(info.ids[8:16])


def test_rows_survive(shard: tuple[ShardInfo, bytes], tmp_path: Path) -> None:
    info, data = shard
    path = tmp_path / "shard.arrow"
    path.write_bytes(data)
    opened = ShardFile(info, from_file(path), DIGEST)
    assert [opened.row(number) for number in range(20)] == make_rows()
    batch = pa.ipc.open_file(data).get_batch(0)
    assert rows_of(batch)[3] == make_rows()[3]


def test_a_batch_that_differs_from_its_checksum_or_its_ids_is_refused(
    shard: tuple[ShardInfo, bytes], tmp_path: Path
) -> None:
    info, data = shard
    path = tmp_path / "shard.arrow"
    path.write_bytes(data)
    wrong = tuple(replace(batch, crc32=batch.crc32 ^ 1) for batch in info.batches)
    with pytest.raises(DataError, match="batch 2 differs from its checksum"):
        ShardFile(replace(info, batches=wrong), from_file(path), DIGEST).row(19)
    with pytest.raises(DataError, match="batch 0 holds other cases"):
        ShardFile(replace(info, ids=tuple(reversed(info.ids))), from_file(path), DIGEST).row(0)
    with pytest.raises(DataError, match="not a shard of this data set"):
        ShardFile(info, from_file(path), "b" * 64)


def test_the_same_rows_give_the_same_bytes(shard: tuple[ShardInfo, bytes]) -> None:
    assert encode_shard(make_rows(), DIGEST) == shard


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([10], [range(1)]),
        ([MIB] * 3, [range(1), range(1, 2), range(2, 3)]),
        ([MIB // 2] * 4, [range(2), range(2, 4)]),
        ([4 * MIB] * 16, [range(start, start + 2) for start in range(0, 16, 2)]),
        ([200 * MIB, 1], [range(1), range(1, 2)]),
    ],
)
def test_a_split_is_cut_into_eighths_between_1_and_64_mib(sizes: list[int], expected: list[range]) -> None:
    assert plan_shards(sizes) == expected


def test_small_cases_share_a_batch() -> None:
    rows = [replace(row, image=b"x" * 1000, mask=None, mask_sha256=None) for row in make_rows()]
    assert [batch.rows for batch in encode_shard(rows, DIGEST)[0].batches] == [20]
    rows = [replace(row, image=b"x" * 1_500_000) for row in make_rows(2)]
    assert [batch.rows for batch in encode_shard(rows, DIGEST)[0].batches] == [1, 1]


def test_a_manifest_survives_json(images: Path, tmp_path: Path) -> None:
    from workers.data.ingest import ingest

    manifest = ingest(images, str(tmp_path / "set"))
    data = to_bytes(manifest)
    assert from_bytes(data, where="here") == manifest
    assert to_bytes(from_bytes(data, where="here")) == data
