"""Bad cases may be left out, but never in silence."""

import io
import json
from pathlib import Path

import pytest

from workers.data.dataset import open_dataset
from workers.data.ingest import ingest, load_skipped, skipped_key
from workers.data.verify import verify_dataset
from workers.errors import DataError
from workers.source import LeftOut

WHERE = {"train": range(8), "validation": range(8, 10), "test": range(10, 12)}


@pytest.fixture
def source(images: Path) -> Path:
    splits = {name: [f"shot{number}" for number in numbers] for name, numbers in WHERE.items()}
    (images / "splits.json").write_text(json.dumps(splits))
    return images


def damage(source: Path, *numbers: int) -> None:
    for number in numbers:
        (source / f"images/shot{number}.png").write_bytes(b"no picture")


def test_what_is_bad_is_left_out_and_named(source: Path, tmp_path: Path) -> None:
    dest = str(tmp_path / "set")
    damage(source, 0, 9)
    (source / "masks/shot3.png").unlink()
    with pytest.raises(DataError, match="nothing was written"):
        ingest(source, dest)
    manifest = ingest(source, dest, skip_bad=True)
    assert {name: split.rows for name, split in manifest.splits.items()} == {
        "train": 6,
        "validation": 1,
        "test": 2,
    }
    assert "left out as bad: 4 cases or files: shot0, shot3, shot3.png, shot9" in manifest.notes
    skipped = load_skipped(dest, manifest.digest)
    assert set(skipped) == {"shot0", "shot9", "shot3.png", "shot3"}
    assert skipped["shot0"] == ["images/shot0.png: not a PNG, JPEG or TIFF picture; replace or remove it."]
    assert skipped["shot3.png"] == ["1 images without labels: shot3.png"]
    assert verify_dataset(dest).is_whole and "shot0" not in open_dataset(dest).ids("train")


def test_it_is_the_data_set_of_a_folder_without_what_is_bad(source: Path, tmp_path: Path) -> None:
    damage(source, 2)
    skipping = ingest(source, str(tmp_path / "skipping"), skip_bad=True, shard_bytes=1)
    splits = {name: [f"shot{n}" for n in numbers if n != 2] for name, numbers in WHERE.items()}
    (source / "splits.json").write_text(json.dumps(splits))
    (source / "images/shot2.png").unlink()
    (source / "masks/shot2.png").unlink()
    clean = ingest(source, str(tmp_path / "clean"), shard_bytes=1)
    assert skipping.digest == clean.digest and skipping.shards == clean.shards
    assert (
        skipping.statistics == clean.statistics and load_skipped(str(tmp_path / "clean"), clean.digest) == {}
    )


def test_the_first_case_decides_nothing_where_it_is_bad(source: Path, tmp_path: Path) -> None:
    """A grey first case that has another fault does not turn all coloured ones into bad ones."""
    from PIL import Image

    Image.new("L", (9, 9)).save(source / "images/shot0.png")
    manifest = ingest(source, str(tmp_path / "set"), skip_bad=True)
    assert len(load_skipped(str(tmp_path / "set"), manifest.digest)) == 1
    assert manifest.channels == ("red", "green", "blue")


def test_a_split_that_would_be_empty_is_refused(source: Path, tmp_path: Path) -> None:
    damage(source, 8, 9)
    with pytest.raises(DataError, match="split 'validation': all of its 2 cases are bad") as caught:
        ingest(source, str(tmp_path / "set"), skip_bad=True)
    assert len(caught.value.problems) == 1 and not (tmp_path / "set").exists()


def test_what_concerns_the_whole_folder_is_refused_even_so(source: Path, tmp_path: Path) -> None:
    (source / "classes.json").write_text('["ground", "ground"]')
    with pytest.raises(DataError, match="names given twice: ground"):
        ingest(source, str(tmp_path / "set"), skip_bad=True)


def test_nothing_bad_leaves_no_trace(source: Path, tmp_path: Path) -> None:
    manifest = ingest(source, str(tmp_path / "set"), skip_bad=True)
    assert not (tmp_path / "set" / skipped_key(manifest.digest)).exists()
    assert not any("left out" in note for note in manifest.notes)


def test_a_whole_ingest_of_the_same_content_removes_the_list(source: Path, tmp_path: Path) -> None:
    dest = str(tmp_path / "set")
    damage(source, 2)
    manifest = ingest(source, dest, skip_bad=True)
    assert load_skipped(dest, manifest.digest)
    splits = {name: [f"shot{n}" for n in numbers if n != 2] for name, numbers in WHERE.items()}
    (source / "splits.json").write_text(json.dumps(splits))
    (source / "images/shot2.png").unlink()
    (source / "masks/shot2.png").unlink()
    assert ingest(source, dest).digest == manifest.digest
    assert load_skipped(dest, manifest.digest) == {}


def test_a_problem_of_absent_cases_crosses_processes() -> None:
    import pickle

    problem = LeftOut("2 images without labels: a, b", ["a", "b"])
    copy = pickle.load(io.BytesIO(pickle.dumps(problem)))  # noqa: S301  # made here
    assert (copy, copy.names, type(copy)) == (problem, ("a", "b"), LeftOut)
