import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.data.statistics import measured
from workers.data.verify import verify_dataset
from workers.errors import DataError


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def problems_of(source: Path, dest: Path) -> tuple[str, ...]:
    """Problems of a source that has to be refused without a trace."""
    with pytest.raises(DataError, match=r"nothing was written") as caught:
        ingest(source, str(dest))
    assert not dest.exists()
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def save_mask(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(path)


def test_the_manifest_tells_what_the_set_holds(images: Path, tmp_path: Path) -> None:
    manifest = ingest(images, str(tmp_path / "set"), name="shots")
    assert (manifest.name, manifest.source, manifest.axes) == ("shots", "image_masks", ("height", "width"))
    assert manifest.symmetries == ("width",) and manifest.channels == ("red", "green", "blue")
    assert [info.name for info in manifest.classes] == ["background", "class 1", "class 2"]
    assert manifest.shape_min == manifest.shape_max == (8, 10)
    assert sum(split.rows for split in manifest.splits.values()) == 12
    for split in manifest.splits.values():
        assert split.ignored_pixels == 3 * split.rows
        assert sum(split.class_pixels) == 77 * split.rows
    assert any("found by scanning the labels" in note for note in manifest.notes)
    assert any("the source has no splits" in note for note in manifest.notes)


def test_statistics_come_from_training_cases_only(volumes: Path, tmp_path: Path) -> None:
    manifest = ingest(volumes, str(tmp_path / "set"))
    dataset = open_dataset(str(tmp_path / "set"))
    voxels = np.concatenate([dataset.case(id).image.reshape(2, -1) for id in dataset.ids("train")], axis=1)
    statistics = manifest.statistics
    # Nine digits are kept; the sums are of float64 in another order.
    assert statistics.mean == pytest.approx(voxels.mean(axis=1, dtype=np.float64), rel=1e-8)
    assert statistics.std == pytest.approx(voxels.std(axis=1, dtype=np.float64), rel=1e-8)
    assert statistics.low == pytest.approx(np.percentile(voxels, 0.5, axis=1), rel=1e-6)
    assert statistics.high == pytest.approx(np.percentile(voxels, 99.5, axis=1), rel=1e-6)
    assert statistics.median_spacing == (1.0, 1.0, 2.5)


def test_bytes_that_are_counted_have_the_moments_of_all_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 40, 50), dtype=np.uint8)
    case = measured(image, None, num_cases=1)
    wide = image.reshape(3, -1).astype(np.float64)
    # Sums of 2,000 values in another order.
    assert case.mean == pytest.approx(wide.mean(axis=1), rel=1e-12)
    assert case.squares == pytest.approx(wide.var(axis=1) * 2000, rel=1e-12)
    constant = measured(np.full((1, 9, 9), 255, np.uint8), None, num_cases=1)
    assert (constant.mean[0], constant.squares[0]) == (255.0, 0.0)


def test_the_same_content_again_changes_nothing(images: Path, tmp_path: Path) -> None:
    first = ingest(images, str(tmp_path / "set"))
    before = contents(tmp_path / "set")
    assert ingest(images, str(tmp_path / "set")) == first
    assert contents(tmp_path / "set") == before


def test_the_digest_depends_on_content_only(volumes: Path, tmp_path: Path) -> None:
    first = ingest(volumes, str(tmp_path / "one"))
    assert len(first.shards) == 3
    second = ingest(volumes, str(tmp_path / "many"), shard_bytes=1)
    assert len(second.shards) == 12
    moved = tmp_path / "moved"
    shutil.copytree(volumes, moved)
    description = json.loads((moved / "dataset.json").read_text())
    description["training"].reverse()
    (moved / "dataset.json").write_text(json.dumps(description))
    third = ingest(moved, str(tmp_path / "reversed"))
    assert first.digest == second.digest == third.digest
    assert [shard.sha256 for shard in first.shards] == [shard.sha256 for shard in third.shards]


@pytest.mark.parametrize("change", ["voxel", "label", "spacing", "class", "split"])
def test_each_change_of_content_changes_the_digest(volumes: Path, tmp_path: Path, change: str) -> None:
    before = ingest(volumes, str(tmp_path / "before")).digest
    name = {"label": "labelsTr"}.get(change, "imagesTr")
    path = volumes / name / "case_000.nii.gz"
    image = nib.load(path)
    values, affine = np.asanyarray(image.dataobj).copy(), image.affine.copy()
    if change in ("voxel", "label"):
        values.flat[0] = (values.flat[0] + 1) % 3
    elif change == "spacing":
        affine[2, 2] = 3.0
        labels = np.asanyarray(nib.load(volumes / "labelsTr/case_000.nii.gz").dataobj)
        nib.save(nib.nifti1.Nifti1Image(labels, affine), volumes / "labelsTr/case_000.nii.gz")
    nib.save(nib.nifti1.Nifti1Image(values, affine), path)
    description = json.loads((volumes / "dataset.json").read_text())
    if change == "class":
        description["labels"]["2"] = "Right"
        (volumes / "dataset.json").write_text(json.dumps(description))
    if change == "split":
        ids = [f"case_{number:03d}" for number in range(12)]
        (volumes / "splits.json").write_text(
            json.dumps({"train": ids[:8], "validation": ids[8:10], "test": ids[10:]})
        )
    assert ingest(volumes, str(tmp_path / "after")).digest != before


def test_another_content_becomes_the_latest_and_the_old_one_stays(images: Path, tmp_path: Path) -> None:
    dest = str(tmp_path / "set")
    old = ingest(images, dest)
    save_mask(images / "masks/shot0.png", np.zeros((8, 10), dtype=np.uint8))
    new = ingest(images, dest)
    assert new.digest != old.digest
    assert open_dataset(dest).digest == new.digest
    assert open_dataset(f"{dest}@sha256:{old.digest}").digest == old.digest
    assert open_dataset(dest, digest=old.digest).manifest == old


def test_a_damaged_shard_is_mended_by_ingesting_again(images: Path, tmp_path: Path) -> None:
    dest = tmp_path / "set"
    manifest = ingest(images, str(dest))
    path = dest / manifest.shards[0].key
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert ingest(images, str(dest)) == manifest
    assert path.read_bytes() == whole
    path.unlink()
    ingest(images, str(dest))
    assert path.read_bytes() == whole


def test_splits_and_groups_files_are_honoured(images: Path, tmp_path: Path) -> None:
    ids = [f"shot{number}" for number in range(12)]
    splits = {"train": ids[:6], "validation": ids[6:8], "test": ids[8:10]}
    (images / "splits.json").write_text(json.dumps(splits))
    manifest = ingest(images, str(tmp_path / "set"))
    dataset = open_dataset(str(tmp_path / "set"))
    assert {name: list(dataset.ids(name)) for name in splits} == splits
    assert "2 cases that splits.json does not list were left out" in manifest.notes

    (images / "splits.json").unlink()
    (images / "groups.json").write_text(
        json.dumps({id: f"patient{number // 3}" for number, id in enumerate(ids)})
    )
    ingest(images, str(tmp_path / "set"))
    dataset = open_dataset(str(tmp_path / "set"))
    where: dict[str | None, set[str]] = {}
    for name in splits:
        for id in dataset.ids(name):
            where.setdefault(dataset.case(id).group, set()).add(name)
    assert len(where) == 4 and all(len(names) == 1 for names in where.values())


def test_classes_file_names_values_and_colours(images: Path, tmp_path: Path) -> None:
    for path in (images / "masks").iterdir():
        mask = np.zeros((8, 10), dtype=np.uint8)
        mask[2:4] = 255
        save_mask(path, mask)
    (problem,) = problems_of(images, tmp_path / "set")
    assert "only 0 and 255 (ignored) occur" in problem and '"value": 255' in problem
    classes = [{"name": "cell", "value": 255, "rgb": [255, 255, 255]}, {"name": "membrane", "value": 0}]
    (images / "classes.json").write_text(json.dumps(classes))
    manifest = ingest(images, str(tmp_path / "set"))
    assert (manifest.classes[0].name, manifest.classes[0].rgb) == ("cell", (255, 255, 255))
    dataset = open_dataset(str(tmp_path / "set"))
    labels = dataset.case("shot0").labels
    assert labels is not None and np.array_equal(np.unique(labels[2:4]), [0]) and labels[0, 0] == 1


def test_every_problem_is_told_at_once(images: Path, tmp_path: Path) -> None:
    (images / "classes.txt").write_text("ground\nroad\nhouse\n")
    masks = images / "masks"
    strange = np.zeros((8, 10), dtype=np.uint8)
    strange[0] = 7
    save_mask(masks / "shot0.png", strange)
    save_mask(masks / "shot1.png", np.zeros((8, 9), dtype=np.uint8))
    (masks / "shot2.png").unlink()
    (images / "images/shot3.png").write_bytes((images / "images/shot3.png").read_bytes()[:60])
    Image.fromarray(np.zeros((8, 10), dtype=np.uint8)).save(images / "images/shot4.png")
    Image.fromarray(np.zeros((8, 10, 3), dtype=np.uint8)).save(masks / "shot5.png")
    Image.fromarray(np.zeros((8, 10, 4), dtype=np.uint8)).save(images / "images/shot6.png")
    shutil.copy(images / "images/shot7.png", images / "images/shot7.jpg")
    problems = problems_of(images, tmp_path / "set")
    expected = [
        "images: 1 duplicate ids: shot7.jpg and shot7.png",
        "1 images without labels: shot2.png",
        "masks/shot0.png: label 7 (10 times) is no class; allowed are 0 (ground), 1 (road), 2 (house), and 255 for ignored",
        "masks/shot1.png: image 8 x 10, labels 8 x 9; give both the same size",
        "images/shot3.png: cannot be decoded",
        "images/shot4.png: 1 channels; the data set has 3; convert it first",
        "masks/shot5.png: mask of mode RGB; allowed is one channel",
        "images/shot6.png: transparent in places; allowed is RGB",
    ]
    for says in expected:
        assert sum(problem.startswith(says) for problem in problems) == 1, (says, problems)


def test_many_missing_pairs_are_counted(images: Path, tmp_path: Path) -> None:
    for number in range(7):
        (images / f"masks/shot{number}.png").unlink()
    problem = problems_of(images, tmp_path / "set")[0]
    assert problem == "7 images without labels: shot0.png, shot1.png, shot2.png, shot3.png, shot4.png, …"


def test_volumes_with_broken_values_are_refused(volumes: Path, tmp_path: Path) -> None:
    image_path, label_path = (volumes / folder / "case_001.nii.gz" for folder in ("imagesTr", "labelsTr"))
    image = nib.load(image_path)
    values = np.asanyarray(image.dataobj).copy()
    values[0, 0, 0, 0] = np.nan
    nib.save(nib.nifti1.Nifti1Image(values, image.affine), image_path)
    halves = np.full(values.shape[:3], 0.5, dtype=np.float32)
    nib.save(nib.nifti1.Nifti1Image(halves, image.affine), volumes / "labelsTr/case_002.nii.gz")
    negative = np.full(values.shape[:3], -1, dtype=np.int16)
    nib.save(nib.nifti1.Nifti1Image(negative, image.affine), volumes / "labelsTr/case_004.nii.gz")
    problems = problems_of(volumes, tmp_path / "set")
    assert "imagesTr/case_001.nii.gz: 1 values are NaN or infinite; replace them" in problems
    assert any(
        "labelsTr/case_002.nii.gz: 140 labels are not whole numbers" in problem for problem in problems
    )
    assert any(
        "labelsTr/case_004.nii.gz: label -1 (140 times) is no class" in problem for problem in problems
    )
    assert label_path.exists()


def test_float_labels_that_are_whole_are_taken_and_other_affines_noted(volumes: Path, tmp_path: Path) -> None:
    path = volumes / "labelsTr/case_000.nii.gz"
    labels = nib.load(path)
    values = np.asanyarray(labels.dataobj)
    affine = labels.affine + 0.02 * np.eye(4, 4, 3)  # by a fiftieth of a millimetre
    nib.save(nib.nifti1.Nifti1Image(values.astype(np.float32), affine), path)
    manifest = ingest(volumes, str(tmp_path / "set"))
    assert "1 cases: the affine of the labels differs from the image's, which was taken" in manifest.notes
    case = open_dataset(str(tmp_path / "set")).case("case_000")
    assert case.labels is not None and np.array_equal(case.labels, values)


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ({"train": ["shot0", "shot1"], "validation": ["shot2"]}, "split 'test' has 0 cases"),
        ({"train": ["shot0"], "validation": ["shot0"], "test": ["shot1"]}, "1 cases are listed twice: shot0"),
        (
            {"train": ["shot0"], "validation": ["shot1"], "test": ["gone"]},
            "cases of 'test' are not in the folder: gone",
        ),
        (
            {"train": ["shot0"], "val": ["shot1"], "test": ["shot2"]},
            "unknown split 'val'; allowed are train, validation, test",
        ),
    ],
)
def test_damaged_splits_are_refused(
    images: Path, tmp_path: Path, splits: dict[str, list[str]], says: str
) -> None:
    (images / "splits.json").write_text(json.dumps(splits))
    assert any(says in problem for problem in problems_of(images, tmp_path / "set"))


def test_a_patient_in_two_splits_is_refused(images: Path, tmp_path: Path) -> None:
    ids = [f"shot{number}" for number in range(12)]
    (images / "splits.json").write_text(
        json.dumps({"train": ids[:8], "validation": ids[8:10], "test": ids[10:]})
    )
    (images / "groups.json").write_text(
        json.dumps({id: "one" if id in ("shot0", "shot11") else id for id in ids})
    )
    (problem,) = problems_of(images, tmp_path / "set")
    assert problem.startswith("1 groups are in more than one split: one")


def test_a_folder_with_other_files_is_no_destination(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds other files"):
        ingest(images, str(images))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="a file; give a folder"):
        ingest(images, str(tmp_path / "file"))


def test_files_that_change_after_they_were_checked_change_nothing(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGSEARCH_CACHE", str(tmp_path / "cache"))
    shutil.copytree(images, tmp_path / "before")

    def disturb(stage: str, done: int, total: int) -> None:
        if stage == "check" and done == total:
            for path in (images / "masks").iterdir():
                save_mask(path, np.ones((8, 10), dtype=np.uint8))

    digest = ingest(images, str(tmp_path / "set"), on_progress=disturb).digest
    assert digest == ingest(tmp_path / "before", str(tmp_path / "undisturbed")).digest
    assert verify_dataset(str(tmp_path / "set")).is_whole
    assert list((tmp_path / "cache/ingest").iterdir()) == [], "the rows that were kept are removed"


def test_files_that_change_while_they_are_read_twice_publish_nothing(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file, so that no rows can be kept")
    monkeypatch.setenv("SEGSEARCH_CACHE", str(tmp_path / "cache"))
    ingest(images, str(tmp_path / "undisturbed"))

    def disturb(stage: str, done: int, total: int) -> None:
        if stage == "check" and done == total:
            for path in (images / "masks").iterdir():
                save_mask(path, np.ones((8, 10), dtype=np.uint8))

    with pytest.raises(DataError, match="changed while they were ingested"):
        ingest(images, str(tmp_path / "set"), on_progress=disturb)
    with pytest.raises(DataError, match=r"not an ingested data set|no data set"):
        open_dataset(str(tmp_path / "set"))


def test_the_same_image_in_two_splits_is_noted(images: Path, tmp_path: Path) -> None:
    ids = [f"shot{number}" for number in range(12)]
    (images / "splits.json").write_text(
        json.dumps({"train": ids[:8], "validation": ids[8:10], "test": ids[10:]})
    )
    shutil.copy(images / "images/shot0.png", images / "images/shot11.png")
    manifest = ingest(images, str(tmp_path / "set"))
    assert "the same image is in more than one split: shot0 (train) = shot11 (test)" in manifest.notes


def test_links_of_the_user_are_followed(images: Path, tmp_path: Path) -> None:
    plain = ingest(images, str(tmp_path / "plain")).digest
    shutil.move(images / "images", tmp_path / "elsewhere")
    (images / "images").symlink_to(tmp_path / "elsewhere")
    shutil.move(images / "masks/shot3.png", tmp_path / "mask.png")
    (images / "masks/shot3.png").symlink_to(tmp_path / "mask.png")
    assert ingest(images, str(tmp_path / "linked")).digest == plain
