"""What is special to each published layout: which value becomes which class, which split is which, what is wrong."""

import os
from pathlib import Path

import numpy as np
import pytest
from layouts import (
    make_ade20k,
    make_camvid,
    make_cityscapes,
    make_list_files,
    make_pascal_voc,
    noise,
    save,
    save_palette,
)
from PIL import Image
from published import indices, plan_of, problems_of, splits

from workers.data.ingest import ingest
from workers.errors import DataError
from workers.source import open_source, recognise
from workers.source_pictures import with_test_split

REAL = os.environ.get("SEGSEARCH_DATA", "")


def test_camvid_drops_the_prefix_of_its_lists_and_ignores_void(tmp_path: Path) -> None:
    folder = make_camvid(tmp_path / "camvid")
    save(folder / "trainannot/0001TP_000000.png", np.array([[0, 10, 11, 11]], np.uint8))
    assert indices(folder).tolist() == [[0, 10, 255, 255]]
    assert splits(plan_of(folder)) == {"train": 6, "validation": 3, "test": 3}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/SegNet/CamVid/train/gone.png /SegNet/CamVid/trainannot/gone.png", "2 listed files are missing: train/gone.png"),
        ("/SegNet/../secret.png /SegNet/../secret.png", "2 listed files lie outside the folder"),
        (
            "/SegNet/CamVid/train/0001TP_000000.png /SegNet/CamVid/trainannot/0001TP_000000.png",
            "1 ids are used more than once; rename the files: 0001TP_000000",
        ),
    ],
)  # fmt: skip
def test_camvid_lists_are_checked(tmp_path: Path, line: str, says: str) -> None:
    folder = make_camvid(tmp_path / "camvid")
    with (folder / "train.txt").open("a") as file:
        file.write(line + "\n")
    assert any(says in problem for problem in problems_of(folder, tmp_path / "set"))


def test_camvid_names_the_entry_that_is_no_pair(tmp_path: Path) -> None:
    folder = make_camvid(tmp_path / "camvid")
    (folder / "val.txt").write_text("/SegNet/CamVid/val/a.png\n")
    with pytest.raises(DataError, match=r"val\.txt: entry 1: .*expected an image and its mask"):
        plan_of(folder)
    (folder / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"val\.txt: not UTF-8 text"):
        plan_of(folder)


def test_an_empty_split_and_a_value_of_no_class_are_named(tmp_path: Path) -> None:
    folder = make_camvid(tmp_path / "camvid")
    (folder / "val.txt").write_text("")
    save(folder / "trainannot/0001TP_000001.png", np.full((8, 10), 12, np.uint8))
    problems = problems_of(folder, tmp_path / "set")
    assert any("split 'validation' has 0 cases" in problem for problem in problems)
    assert any(
        "trainannot/0001TP_000001.png: label 12 (80 times) is no class" in problem for problem in problems
    )


@pytest.mark.skipif(not Path(REAL, "camvid/CamVid").is_dir(), reason="SEGSEARCH_DATA has no camvid")
def test_camvid_as_it_is_published() -> None:
    folder = Path(REAL, "camvid/CamVid")
    plan = plan_of(folder)
    assert recognise(folder) == "camvid" and not plan.problems
    assert splits(plan) == {"train": 367, "validation": 101, "test": 233}
    raw = open_source("camvid").read(plan.samples[0])
    assert raw.image.shape == (3, 360, 480) and raw.labels.shape == (360, 480)
    assert set(np.unique(raw.labels)) <= {*range(11), 255}


def test_voc_takes_palette_indices_and_tests_on_its_validation_list(tmp_path: Path) -> None:
    folder = make_pascal_voc(tmp_path / "voc")
    root = folder / "VOCdevkit/VOC2012"
    save_palette(root / "SegmentationClass/2007_000000.png", np.array([[0, 15, 20, 255]], np.uint8))
    assert indices(folder).tolist() == [[0, 15, 20, 255]]
    plan = plan_of(folder)
    assert splits(plan)["test"] == 3 and splits(plan)["validation"] >= 1 and sum(splits(plan).values()) == 12
    assert all(sample.split == "test" for sample in plan.samples[9:])
    assert any("the published validation cases are the test split" in note for note in plan.notes)
    assert recognise(root) == recognise(root.parent) == "pascal_voc"


def test_voc_lists_missing_files_and_refuses_paths_outside(tmp_path: Path) -> None:
    folder = make_pascal_voc(tmp_path / "voc")
    root = folder / "VOCdevkit/VOC2012"
    for number in range(7):
        (root / f"SegmentationClass/2007_{number:06d}.png").unlink()
    with (root / "ImageSets/Segmentation/val.txt").open("a") as file:
        file.write("../../../../secret\n")
    missing, outside = open_source("pascal_voc").plan(folder).problems
    assert missing.startswith("7 listed files are missing: SegmentationClass/2007_000000.png,")
    assert missing.endswith("SegmentationClass/2007_000004.png, …")
    assert outside.startswith("2 listed files lie outside the folder")


def test_voc_classes_have_the_colours_of_its_colour_map() -> None:
    from workers.sources.pascal_voc import CLASSES

    for item in CLASSES:  # bit 0, 1, 2 of the index go to red, green, blue from the top; then bits 3, 4, 5
        rgb = [
            sum((item.value >> (3 * step + channel) & 1) << (7 - step) for step in range(3))
            for channel in range(3)
        ]
        assert item.rgb == tuple(rgb), item.name


def test_cityscapes_trains_19_of_34_ids(tmp_path: Path) -> None:
    folder = make_cityscapes(tmp_path / "city")
    path = folder / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    save(path, np.arange(34, dtype=np.uint8)[None])
    expected = [255] * 7 + [
        0,
        1,
        255,
        255,
        2,
        3,
        4,
        255,
        255,
        255,
        5,
        255,
        6,
        7,
        8,
        9,
        10,
        11,
        12,
        13,
        14,
        15,
        255,
        255,
    ]
    assert indices(folder).tolist() == [[*expected, 16, 17, 18]]
    plan = plan_of(folder)
    assert splits(plan)["test"] == 3 and sum(splits(plan).values()) == 12
    assert plan.samples[0].group == "aachen_000000"


def test_cityscapes_reads_coarse_labels_without_fine_ones(tmp_path: Path) -> None:
    plan = plan_of(make_cityscapes(tmp_path / "city", annotations="gtCoarse"))
    assert plan.name == "Cityscapes coarse" and sum(splits(plan).values()) == 12 and not plan.problems


def test_cityscapes_counts_pairs_that_lack_a_side(tmp_path: Path) -> None:
    folder = make_cityscapes(tmp_path / "city")
    (folder / "leftImg8bit/val/lindau/lindau_000009_000019_leftImg8bit.png").unlink()
    (problem,) = plan_of(folder).problems
    assert problem == "val: 1 labels without an image: lindau_000009_000019_gtFine_labelIds.png"


def test_a_drive_stays_in_one_split_when_validation_is_drawn(tmp_path: Path) -> None:
    folder = make_cityscapes(tmp_path / "city")
    for kind, ending in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds")):
        for number in range(9):
            stem = folder / kind / "train/aachen" / f"aachen_{number:06d}_000019_{ending}.png"
            with Image.open(stem) as picture:
                picture.save(stem.with_name(stem.name.replace("000019", "000020")))
    placed = {}
    for sample in plan_of(folder).samples:
        assert placed.setdefault(sample.group, sample.split) == sample.split


def test_about_a_tenth_of_the_training_groups_becomes_validation() -> None:
    from workers.source import SampleFiles

    cases = [SampleFiles(str(n), Path("i"), Path("l"), str(n), "train") for n in range(1000)]
    placed, _ = with_test_split([*cases, SampleFiles("t", Path("i"), Path("l"), "t", "validation")])
    found = [sample.split for sample in placed]
    assert 70 <= found.count("validation") <= 130 and found.count("test") == 1


def test_ade20k_ignores_0_and_counts_classes_from_1(tmp_path: Path) -> None:
    folder = make_ade20k(tmp_path / "ade")
    path = folder / "annotations/training/ADE_train_00000000.png"
    save(path, np.array([[0, 1, 2, 150]], np.uint8))
    assert indices(folder).tolist() == [[255, 0, 1, 149]]
    plan = plan_of(folder)
    assert plan.classes is not None and len(plan.classes) == 150
    assert (plan.classes[0].name, plan.classes[149].name, plan.classes[12].name) == ("wall", "flag", "person")
    assert splits(plan)["test"] == 3
    save(path, np.full((8, 10), 151, np.uint8))
    assert any("label 151 (80 times) is no class" in text for text in problems_of(folder, tmp_path / "set"))


def test_ade20k_takes_its_few_grey_pictures(tmp_path: Path) -> None:
    folder = make_ade20k(tmp_path / "ade")
    save(folder / "images/training/ADE_train_00000003.jpg", noise(3)[..., 0])
    manifest = ingest(folder, str(tmp_path / "set"))
    assert manifest.channels == ("red", "green", "blue")
    assert "1 cases: a grey picture was taken as red, green, blue" in manifest.notes


def test_lists_name_splits_and_files_anywhere_below(tmp_path: Path) -> None:
    folder = make_list_files(tmp_path / "lists")
    heading, *lines = (folder / "pairs.csv").read_text().splitlines()
    (folder / "pairs.csv").unlink()
    for split, part in (("train", lines[:6]), ("val", lines[6:9]), ("test", lines[9:])):
        (folder / f"pairs_{split}.csv").write_text("\n".join([heading, *part]))
    plan = plan_of(folder)
    assert splits(plan) == {"train": 6, "validation": 3, "test": 3}
    assert plan.samples[0].id == "photos_day0_00"
    (folder / "pairs.csv").write_text(lines[0])
    with pytest.raises(DataError, match=r"pairs\.csv beside pairs_train\.csv; allowed is one list"):
        plan_of(folder)


@pytest.mark.parametrize(
    "stray", ["../secret.png", "/etc/passwd", "photos/../../secret.png", "link/secret.png"]
)
def test_a_list_stays_inside_its_folder(tmp_path: Path, stray: str) -> None:
    folder = make_list_files(tmp_path / "lists")
    save(tmp_path / "secret.png", noise(1))
    (folder / "link").symlink_to(tmp_path)
    with (folder / "pairs.csv").open("a") as file:
        file.write(f"\n{stray},drawn/00.png\n")
    problems = problems_of(folder, tmp_path / "set")
    assert any(problem.startswith("1 listed files lie outside the folder") for problem in problems)


@pytest.mark.parametrize("line", ["one.png", "a.png,b.png,c.png", "a.png,"])
def test_a_line_that_is_no_pair_is_named(tmp_path: Path, line: str) -> None:
    folder = make_list_files(tmp_path / "lists")
    (folder / "pairs.csv").write_text(f"image,label\n{line}\n")
    with pytest.raises(DataError, match=r"pairs\.csv: entry 2: .*expected two paths, image,label"):
        plan_of(folder)


def test_a_list_counts_what_is_missing_and_what_comes_twice(tmp_path: Path) -> None:
    folder = make_list_files(tmp_path / "lists")
    gone = [f"photos/gone{number}.png,drawn/00.png" for number in range(7)]
    with (folder / "pairs.csv").open("a") as file:
        file.write("\n" + "\n".join([*gone, "photos/day0/00.png,drawn/00.png"]))
    missing, twice = open_source("list_files").plan(folder).problems
    assert missing == (
        "7 listed files are missing: photos/gone0.png, photos/gone1.png, photos/gone2.png, photos/gone3.png, "
        "photos/gone4.png, …"
    )
    assert twice == "1 ids are used more than once; rename the files: photos_day0_00"
