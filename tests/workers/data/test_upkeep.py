"""Copies, exports, garbage and samples of data sets."""

import os
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from layouts import make_object_masks, make_pascal_voc, make_tiff_stacks
from PIL import Image

from workers.data import transfer
from workers.data.dataset import open_dataset
from workers.data.garbage import find_garbage, remove_garbage
from workers.data.ingest import ingest
from workers.data.transfer import copy_dataset
from workers.data.unpack import export_files, export_parquet
from workers.data.verify import verify_dataset
from workers.errors import DataError
from workers.local_store import LocalStore

HOUR = 3600.0


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def age(path: Path, seconds: float) -> None:
    when = time.time() - seconds
    os.utime(path, (when, when))


def test_a_copy_is_the_same_byte_by_byte(images: Path, tmp_path: Path) -> None:
    whole = ingest(images, str(tmp_path / "whole"))
    (images / "images" / f"{whole.shards[0].ids[0]}.png").write_bytes(b"")
    ingest(images, str(tmp_path / "set"), skip_bad=True, shard_bytes=1)
    seen: list[tuple[str, int, int]] = []
    done = copy_dataset(
        str(tmp_path / "set"), str(tmp_path / "copy"), on_progress=lambda *now: seen.append(now)
    )
    assert contents(tmp_path / "copy") == contents(tmp_path / "set")
    assert (done.sent, done.found) == (11, 0) and seen[-1] == ("copy", 11, 11)
    again = copy_dataset(str(tmp_path / "set"), str(tmp_path / "copy"))
    assert (again.sent, again.found, again.num_bytes) == (0, 11, 0)


def test_a_copy_that_was_cut_off_goes_on(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, dest = str(tmp_path / "set"), tmp_path / "copy"
    ingest(images, source, shard_bytes=1)

    def stop(stage: str, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_dataset(source, str(dest), on_progress=stop)
    with pytest.raises(DataError, match="not an ingested data set"):
        open_dataset(str(dest))
    before = {path: path.stat().st_mtime_ns for path in (dest / "objects").iterdir()}
    done = copy_dataset(source, str(dest))
    assert (done.sent, done.found) == (7, 5)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert verify_dataset(str(dest)).is_whole


def test_a_copy_publishes_in_order(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest(images, str(tmp_path / "set"), shard_bytes=1)
    order: list[str] = []
    put = LocalStore.put

    def noted(self: LocalStore, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        order.append(key.partition("/")[0])
        return put(self, key, data, if_absent=if_absent)

    monkeypatch.setattr(LocalStore, "put", noted)
    copy_dataset(str(tmp_path / "set"), str(tmp_path / "copy"))
    assert order == ["objects"] * 12 + ["manifests", "refs"]


@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
def test_a_damaged_shard_is_not_copied(images: Path, tmp_path: Path, damage: str) -> None:
    manifest = ingest(images, str(tmp_path / "set"))
    path = tmp_path / "set" / manifest.shards[-1].key
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flip" else data[:-1])
    with pytest.raises(
        DataError, match="shard missing" if damage == "missing" else "differ from the manifest"
    ):
        copy_dataset(str(tmp_path / "set"), str(tmp_path / "copy"))
    assert not (tmp_path / "copy/refs").exists() and not (tmp_path / "copy/manifests").exists()


def test_an_older_content_is_copied_by_its_digest(images: Path, tmp_path: Path) -> None:
    old = ingest(images, str(tmp_path / "set"))
    Image.fromarray(np.ones((8, 10), np.uint8)).save(images / "masks/shot0.png")
    new = ingest(images, str(tmp_path / "set"))
    done = transfer.copy_dataset(f"{tmp_path / 'set'}@sha256:{old.digest}", str(tmp_path / "copy"))
    assert done.manifest.digest == old.digest != new.digest
    assert open_dataset(str(tmp_path / "copy")).digest == old.digest
    with pytest.raises(DataError, match="holds other files"):
        copy_dataset(str(tmp_path / "set"), str(images))


def make_deep(folder: Path) -> Path:
    """Grey pictures of 16 bit in TIFF, which shards store as arrays."""
    for number in range(12):
        rng = np.random.default_rng(number)
        for place, values in (
            ("images", rng.integers(0, 60_000, (8, 10), dtype=np.uint16)),
            ("masks", rng.integers(0, 2, (8, 10), dtype=np.uint8)),
        ):
            (folder / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(folder / place / f"deep.{number}.tif")
    return folder


@pytest.mark.parametrize("kind", ["pictures", "volumes", "jpeg", "objects", "deep", "stacks", "decoded"])
def test_exported_files_have_the_digest_of_the_data_set(
    kind: str, images: Path, volumes: Path, tmp_path: Path
) -> None:
    (images / "groups.json").write_text(
        '{"shot0": "one", "shot1": "one"}'.replace(
            "}", "".join(f', "shot{n}": "p{n}"' for n in range(2, 12)) + "}"
        )
    )
    source = {
        "pictures": lambda: images,
        "decoded": lambda: images,
        "volumes": lambda: volumes,
        "jpeg": lambda: make_pascal_voc(tmp_path / "raw"),
        "objects": lambda: make_object_masks(tmp_path / "raw"),
        "deep": lambda: make_deep(tmp_path / "raw"),
        "stacks": lambda: make_tiff_stacks(tmp_path / "raw"),
    }[kind]()
    manifest = ingest(source, str(tmp_path / "set"), profile="decoded" if kind == "decoded" else "encoded")
    done = export_files(str(tmp_path / "set"), tmp_path / "files")
    assert done.cases == 12 and done.digest_of_files == done.digest == manifest.digest
    again = ingest(tmp_path / "files", str(tmp_path / "again"))
    assert again.digest == manifest.digest and again.classes == manifest.classes
    with pytest.raises(DataError, match="not empty"):
        export_files(str(tmp_path / "set"), tmp_path / "files")


def test_a_parquet_file_holds_every_case_and_finds_every_flip(images: Path, tmp_path: Path) -> None:
    ingest(images, str(tmp_path / "set"))
    path = tmp_path / "out/set.parquet"
    assert export_parquet(str(tmp_path / "set"), path) == 12
    table = pq.read_table(path, page_checksum_verification=True)
    dataset = open_dataset(str(tmp_path / "set"))
    assert table.column("id").to_pylist() == [id for shard in dataset.manifest.shards for id in shard.ids]
    for row in table.to_pylist():
        assert row["image"] == (images / "images" / f"{row['id']}.png").read_bytes()
    assert [entry.name for entry in path.parent.iterdir()] == ["set.parquet"]
    whole = path.read_bytes()
    where = whole.index(b"\x89PNG") + 40
    path.write_bytes(whole[:where] + bytes([whole[where] ^ 1]) + whole[where + 1 :])
    with pytest.raises(OSError, match=r"(?i)crc"):
        pq.read_table(path, page_checksum_verification=True)


def test_only_what_is_old_and_named_by_no_manifest_is_garbage(images: Path, tmp_path: Path) -> None:
    dest = tmp_path / "set"
    old = ingest(images, str(dest), shard_bytes=1)
    Image.fromarray(np.ones((8, 10), np.uint8)).save(images / "masks/shot0.png")
    new = ingest(images, str(dest), shard_bytes=1)
    for path in (dest / "objects").iterdir():
        age(path, 48 * HOUR)
    assert find_garbage(str(dest), older_than_s=24 * HOUR).keys == ()
    named = {shard.key for shard in new.shards}
    orphans = {shard.key for shard in old.shards} - named
    (dest / old.key).unlink()
    young = sorted(orphans)[0]
    age(dest / young, HOUR)
    aside = dest / "objects/.x.arrow.1.2.tmp"
    aside.write_bytes(b"12345")
    age(aside, 48 * HOUR)
    (dest / "skipped").mkdir()
    listing = dest / "skipped/.x.json.1.2.tmp"
    listing.write_bytes(b"678")
    age(listing, 48 * HOUR)
    found = find_garbage(str(dest), older_than_s=24 * HOUR)
    assert set(found.keys) == orphans - {young} and found.asides == (aside, listing) and found.young == 1
    assert found.num_bytes == 8 + sum((dest / key).stat().st_size for key in found.keys)
    remove_garbage(str(dest), found)
    assert not aside.exists() and (dest / young).exists()
    assert {f"objects/{path.name}" for path in (dest / "objects").iterdir()} == named | {young}
    assert verify_dataset(str(dest)).is_whole


def test_what_a_manifest_that_cannot_be_read_names_is_not_taken_for_garbage(
    images: Path, tmp_path: Path
) -> None:
    manifest = ingest(images, str(tmp_path / "set"))
    path = tmp_path / "set" / manifest.key
    path.write_bytes(path.read_bytes().replace(b'"schema_version":1', b'"schema_version":2'))
    with pytest.raises(DataError, match="schema version 2"):
        find_garbage(str(tmp_path / "set"), older_than_s=0)
    with pytest.raises(DataError, match="no data set there"):
        find_garbage(str(tmp_path / "nowhere"), older_than_s=0)


def test_what_is_published_meanwhile_is_kept(images: Path, tmp_path: Path) -> None:
    dest = tmp_path / "set"
    manifest = ingest(images, str(dest))
    text = (dest / manifest.key).read_bytes()
    (dest / manifest.key).unlink()
    found = find_garbage(str(dest), older_than_s=0)
    assert len(found.keys) == 3
    (dest / manifest.key).write_bytes(text)
    with pytest.raises(DataError, match="published meanwhile"):
        remove_garbage(str(dest), found)
    assert verify_dataset(str(dest)).is_whole


def test_a_sample_of_the_shards_is_verified(images: Path, tmp_path: Path) -> None:
    manifest = ingest(images, str(tmp_path / "set"), shard_bytes=1)
    report = verify_dataset(str(tmp_path / "set"), share=0.3)
    assert (report.shards, report.cases, report.is_whole) == (4, 4, True)
    assert report.share == pytest.approx(4 / 12)
    path = tmp_path / "set" / manifest.shards[5].key
    path.write_bytes(path.read_bytes()[:-1])
    found = [verify_dataset(str(tmp_path / "set"), share=0.3, seed=seed).is_whole for seed in range(12)]
    assert True in found and False in found, "other seeds take other shards"
    assert found == [
        verify_dataset(str(tmp_path / "set"), share=0.3, seed=seed).is_whole for seed in range(12)
    ]
    assert not verify_dataset(str(tmp_path / "set")).is_whole
    with pytest.raises(DataError, match="allowed are numbers above 0 up to 1"):
        verify_dataset(str(tmp_path / "set"), share=0)
