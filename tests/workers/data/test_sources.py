"""Contract of every registered data source, and what is special to each."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search_spaces.errors import UnknownKindError
from search_spaces.register import kinds
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.data.raw import raw_cases
from workers.errors import DataError
from workers.source import Source, open_source, recognise

Makers = dict[str, Callable[[Path], Path]]
EVERY = pytest.mark.parametrize("kind", kinds(Source))


@EVERY
def test_only_its_own_layout_is_recognised(kind: str, makers: Makers, tmp_path: Path) -> None:
    folder = makers[kind](tmp_path / "source")
    assert recognise(folder) == kind
    assert open_source(kind).layout
    for other in set(kinds(Source)) - {kind}:
        assert not open_source(other).recognise(folder)


@EVERY
def test_a_plan_is_sorted_and_names_files_that_exist(kind: str, makers: Makers, tmp_path: Path) -> None:
    folder = makers[kind](tmp_path / "source")
    plan = open_source(kind).plan(folder)
    ids = [sample.id for sample in plan.samples]
    assert ids == sorted(set(ids)) and len(ids) == 12
    assert not plan.problems
    assert all(sample.image.is_file() and sample.labels.exists() for sample in plan.samples)
    assert set(plan.symmetries) <= set(plan.axes)


@EVERY
def test_a_case_reads_as_image_and_labels_of_one_size(kind: str, makers: Makers, tmp_path: Path) -> None:
    source = open_source(kind)
    plan = source.plan(makers[kind](tmp_path / "source"))
    raw = source.read(plan.samples[0])
    assert raw.image.ndim == len(plan.axes) + 1
    assert raw.labels.shape == raw.image.shape[1:]
    assert (raw.affine is not None) == (len(plan.axes) == 3) == (raw.spacing is not None)


@EVERY
def test_shards_give_the_cases_of_the_files(kind: str, makers: Makers, tmp_path: Path) -> None:
    folder = makers[kind](tmp_path / "source")
    manifest = ingest(folder, str(tmp_path / "set"))
    dataset = open_dataset(str(tmp_path / "set"))
    ids = [id for split in manifest.splits for id in dataset.ids(split)]
    assert manifest.source == kind and len(ids) == 12
    for raw in raw_cases(folder, ids):
        case = dataset.case(raw.id)
        assert (case.split, case.group, case.spacing) == (raw.split, raw.group, raw.spacing)
        assert case.image.dtype == raw.image.dtype and np.array_equal(case.image, raw.image)
        assert case.labels is not None and raw.labels is not None and np.array_equal(case.labels, raw.labels)
        # both are there
        assert (case.affine is None and raw.affine is None) or np.array_equal(case.affine, raw.affine)  # type: ignore[arg-type]


@EVERY
def test_a_damaged_file_is_named(kind: str, makers: Makers, tmp_path: Path) -> None:
    folder = makers[kind](tmp_path / "source")
    source = open_source(kind)
    sample = source.plan(folder).samples[3]
    data = sample.image.read_bytes()
    for broken in (b"", data[: len(data) // 2], b"not an image at all"):
        sample.image.write_bytes(broken)
        with pytest.raises(DataError, match=sample.image.name):
            source.read(sample)


def test_an_unknown_layout_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="no known layout") as caught:
        recognise(tmp_path)
    for kind in kinds(Source):
        assert f"{kind}: {open_source(kind).layout}" in str(caught.value)
    with pytest.raises(DataError, match="no such folder"):
        recognise(tmp_path / "absent")


def test_an_unknown_source_offers_the_nearest(images: Path) -> None:
    with pytest.raises(UnknownKindError, match="did you mean 'decathlon'"):
        ingest(images, "unused", source="decatlon")
    with pytest.raises(DataError, match="not a decathlon folder, which has dataset"):
        ingest(images, "unused", source="decathlon")


def test_decathlon_reads_channels_classes_and_licence(volumes: Path) -> None:
    plan = open_source("decathlon").plan(volumes)
    assert plan.channels == ("MR 0", "MR 1")
    assert plan.classes is not None and [item.name for item in plan.classes] == [
        "background",
        "left",
        "right",
    ]
    assert (plan.name, plan.licence, plan.reference) == ("Made", "CC0", "made for a test")
    assert plan.notes == ("1 images without labels were left out",)


def test_decathlon_lists_missing_files_and_refuses_paths_outside(volumes: Path) -> None:
    description = json.loads((volumes / "dataset.json").read_text())
    description["training"] += [
        {"image": f"./imagesTr/gone_{number}.nii.gz", "label": f"./labelsTr/gone_{number}.nii.gz"}
        for number in range(4)
    ]
    description["training"].append({"image": "../../etc/passwd", "label": "./labelsTr/case_000.nii.gz"})
    (volumes / "dataset.json").write_text(json.dumps(description))
    missing, outside = open_source("decathlon").plan(volumes).problems
    assert missing.startswith(
        "dataset.json: 8 listed files are missing: imagesTr/gone_0.nii.gz, labelsTr/gone_0.nii.gz,"
    )
    assert missing.endswith(", …")
    assert "1 listed files lie outside the folder" in outside


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "dataset.json:1:2: not valid JSON"),
        ("[]", "expected an object, got list"),
        ('{"training": 1}', 'expected "training", a list'),
        ('{"training": [], "labels": {"0": "a", "x": "b"}}', "names no value from 0 to 255"),
        ('{"training": [], "labels": {}}', 'expected "labels"'),
    ],
)
def test_a_damaged_description_is_explained(volumes: Path, text: str, says: str) -> None:
    (volumes / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=says):
        open_source("decathlon").plan(volumes)


def test_nifti_pairs_take_folders_and_plain_names(makers: Makers, tmp_path: Path) -> None:
    made = makers["nifti_pairs"](tmp_path / "made")
    folders, plain = tmp_path / "folders", tmp_path / "plain"
    for number in range(3):
        for word, target in (("image", "images"), ("label", "labels")):
            data = (made / f"p{number}" / f"p{number}_{word}.nii.gz").read_bytes()
            for path in (folders / target / f"p{number}.nii.gz", plain / f"p{number}" / f"{word}.nii.gz"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    for folder in (folders, plain):
        assert recognise(folder) == "nifti_pairs"
        assert [sample.id for sample in open_source("nifti_pairs").plan(folder).samples] == ["p0", "p1", "p2"]


def test_nifti_pairs_keep_a_patient_together(makers: Makers, tmp_path: Path) -> None:
    folder = makers["nifti_pairs"](tmp_path / "source")
    for word in ("image", "label"):
        data = (folder / "p0" / f"p0_{word}.nii.gz").read_bytes()
        (folder / "p0" / f"p0b_{word}.nii.gz").write_bytes(data)
    samples = {sample.id: sample for sample in open_source("nifti_pairs").plan(folder).samples}
    assert samples["p0"].group == samples["p0b"].group == "p0"


@pytest.mark.parametrize("layout", ["{split}/images", "images/{split}"])
def test_image_masks_take_splits_from_folders(images: Path, tmp_path: Path, layout: str) -> None:
    folder = tmp_path / "split"
    for number in range(12):
        split = ("train", "val", "test")[number % 3]
        for kind in ("images", "masks"):
            target = folder / layout.format(split=split).replace("images", kind)
            target.mkdir(parents=True, exist_ok=True)
            ending = "_mask" if kind == "masks" else ""
            (images / kind / f"shot{number}.png").rename(target / f"shot{number}{ending}.png")
    assert recognise(folder) == "image_masks"
    manifest = ingest(folder, str(tmp_path / "set"))
    assert {name: split.rows for name, split in manifest.splits.items()} == {
        "train": 4,
        "validation": 4,
        "test": 4,
    }


def test_image_masks_keep_jpeg_bytes_and_decode_tiff(images: Path, tmp_path: Path) -> None:
    source = open_source("image_masks")
    with Image.open(images / "images/shot0.png") as picture:
        picture.save(images / "images/shot0.jpg", quality=90)
        picture.save(images / "images/shot1.tif")
    for number in (0, 1):
        (images / f"images/shot{number}.png").unlink()
    samples = {sample.id: sample for sample in source.plan(images).samples}
    jpeg, tiff = source.read(samples["shot0"]), source.read(samples["shot1"])
    assert jpeg.codec == "jpeg" and jpeg.picture == (images / "images/shot0.jpg").read_bytes()
    assert tiff.codec == "raw+zstd" and tiff.picture is None
