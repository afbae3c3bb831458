"""What is special to each published layout: which value becomes which class, which split is which, what is wrong."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from layouts import (
    drawn,
    make_ade20k,
    make_camvid,
    make_cityscapes,
    make_list_files,
    make_mat_masks,
    make_object_masks,
    make_pascal_context,
    make_pascal_voc,
    make_tiff_stacks,
    noise,
    save,
    save_mat,
    save_palette,
    save_stack,
)
from PIL import Image

from workers import image_file, mat_file
from workers.data.ingest import ingest
from workers.data.placement import place
from workers.errors import DataError
from workers.label_table import LabelTable
from workers.source import SourcePlan, open_source, recognise
from workers.source_pictures import with_test_split

REAL = os.environ.get("SEGSEARCH_DATA", "")


def plan_of(folder: Path) -> SourcePlan:
    return place(open_source(recognise(folder)).plan(folder), folder)


def indices(folder: Path, number: int = 0) -> np.ndarray:
    """Class indices of a case, as training sees them."""
    source = open_source(recognise(folder))
    plan = source.plan(folder)
    labels = source.read(plan.samples[number]).labels
    table = LabelTable(plan.classes)
    assert table.problem(labels, where="x") is None
    return table.indices(labels)


def splits(plan: SourcePlan) -> dict[str, int]:
    found = [sample.split or "" for sample in plan.samples]
    return {name: found.count(name) for name in ("train", "validation", "test")}


def problems_of(folder: Path, dest: Path) -> tuple[str, ...]:
    with pytest.raises(DataError, match="nothing was written") as caught:
        ingest(folder, str(dest))
    assert not dest.exists()
    return caught.value.problems


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


def nucleus_folder(folder: Path) -> Path:
    return make_object_masks(folder) / "stage1_train" / f"00{'ab' * 8}"


def test_masks_of_objects_are_one_class_and_overlaps_are_noted(tmp_path: Path) -> None:
    case = nucleus_folder(tmp_path / "nuclei")
    for path in (case / "masks").iterdir():
        path.unlink()
    left, right = np.zeros((8, 10), np.uint8), np.zeros((8, 10), np.uint8)
    left[1, 1:4], right[1, 3:6] = 255, 1
    save(case / "masks/left.png", left)
    save(case / "masks/right.png", right)
    source = open_source("object_masks")
    plan = source.plan(tmp_path / "nuclei")
    raw = source.read(plan.samples[0])
    assert raw.labels[1].tolist() == [0, 1, 1, 1, 1, 1, 0, 0, 0, 0] and raw.labels.sum() == 5
    assert raw.notes == ("masks of different objects overlap",)
    assert raw.image.shape == (3, 8, 10) and raw.picture is None
    assert source.read(plan.samples[1]).notes == ()
    assert recognise(case.parent) == "object_masks"


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (np.zeros((8, 9), np.uint8), "masks/odd.png: image 8 x 10, mask 8 x 9; give both the same size"),
        (np.arange(80, dtype=np.uint8).reshape(8, 10), "values 0, 1, 2, 3, 4; the mask of one object has 0"),
    ],
)
def test_a_mask_that_is_not_of_one_object_is_refused(tmp_path: Path, mask: np.ndarray, says: str) -> None:
    save(nucleus_folder(tmp_path / "nuclei") / "masks/odd.png", mask)
    assert any(says in problem for problem in problems_of(tmp_path / "nuclei", tmp_path / "set"))


def test_a_case_without_masks_and_a_transparent_picture_are_named(tmp_path: Path) -> None:
    case = nucleus_folder(tmp_path / "nuclei")
    for path in (case / "masks").iterdir():
        path.unlink()
    other = case.parent / f"01{'ab' * 8}"
    save(other / "images" / f"{other.name}.png", np.full((8, 10, 4), 254, np.uint8))
    bare, clear = problems_of(tmp_path / "nuclei", tmp_path / "set")
    assert bare == f"1 cases have a picture but no mask: {case.name}"
    assert f"images/{other.name}.png: transparent in places; allowed is RGB" in clear


def test_pages_are_slices_along_z(tmp_path: Path) -> None:
    folder = make_tiff_stacks(tmp_path / "stacks")
    pages = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5) * 1000
    save_stack(folder / "00-volume.tif", pages)
    save_stack(folder / "00-labels.tif", (pages > 9000).astype(np.uint8))
    (folder / "spacing.json").write_text("[0.004, 0.004, 0.05]")
    plan = plan_of(folder)
    raw = open_source("tiff_stacks").read(plan.samples[0])
    assert raw.image.shape == (1, 5, 4, 3) and raw.image.dtype == np.uint16 and raw.labels.shape == (5, 4, 3)
    assert raw.image[0, 1, 2, 0] == pages[0, 2, 1] and raw.labels[1, 2, 0] == 1
    assert raw.spacing == (0.004, 0.004, 0.05) and not plan.notes[:-1]
    (folder / "spacing.json").write_text("[1, 1]")
    with pytest.raises(DataError, match=r"spacing\.json: .*expected three sizes above 0"):
        plan_of(folder)


def test_stacks_in_two_folders(tmp_path: Path) -> None:
    made = make_tiff_stacks(tmp_path / "made")
    folder = tmp_path / "folders"
    for word, place_ in (("volume", "volumes"), ("labels", "labels")):
        (folder / place_).mkdir(parents=True)
        for number in range(12):
            (made / f"{number:02d}-{word}.tif").rename(folder / place_ / f"{number:02d}.tif")
    (folder / "labels/03.tif").unlink()
    assert recognise(folder) == "tiff_stacks"
    assert plan_of(folder).problems == ("1 images without labels: 03.tif",)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: Image.new("RGB", (10, 8)).save(path), "00-volume.tif: page 0 of mode RGB"),
        (
            lambda path: Image.new("L", (10, 8)).save(
                path, save_all=True, append_images=[Image.new("L", (9, 8))]
            ),
            "page 1 differs in size",
        ),
        (
            lambda path: Image.new("L", (10, 8)).save(
                path, save_all=True, append_images=[Image.new("I;16", (10, 8))]
            ),
            "page 1 differs in depth",
        ),
        (lambda path: Image.new("L", (10, 8)).save(path, "PNG"), "a PNG picture; allowed is a TIFF stack"),
    ],
)
def test_stacks_that_are_none_are_refused(tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    folder = make_tiff_stacks(tmp_path / "stacks")
    spoil(folder / "00-volume.tif")
    assert any(says in problem for problem in problems_of(folder, tmp_path / "set"))


def test_a_stack_has_a_limit_of_voxels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_tiff_stacks(tmp_path / "stacks")
    monkeypatch.setattr(image_file, "MAX_VOXELS", 319)
    problems = problems_of(folder, tmp_path / "set")
    assert len(problems) == 12 and all("more than 319 voxels" in problem for problem in problems)


def test_context_takes_59_of_its_categories(tmp_path: Path) -> None:
    folder = make_pascal_context(tmp_path / "context")
    save_mat(folder / "trainval/2008_000000.mat", LabelMap=np.array([[0, 1, 59, 60, 459]], np.uint16))
    assert indices(folder).tolist() == [[255, 58, 0, 255, 255]]
    plan = plan_of(folder)
    assert plan.classes is not None and len(plan.classes) == 59
    assert (plan.classes[0].name, plan.classes[58].name) == ("aeroplane", "wood")
    assert splits(plan)["test"] == 3
    save_mat(folder / "trainval/2008_000000.mat", LabelMap=np.full((8, 10), 460, np.uint16))
    (problem,) = problems_of(folder, tmp_path / "set")
    assert "trainval/2008_000000.mat: label 460 (80 pixels" in problem


@pytest.mark.parametrize(
    ("text", "says"),
    [("accordion\n", "expected a number and a category"), ("1: accordion\n", "lacks the categories")],
)
def test_context_needs_its_list_of_categories(tmp_path: Path, text: str, says: str) -> None:
    folder = make_pascal_context(tmp_path / "context")
    (folder / "labels.txt").write_text(text)
    with pytest.raises(DataError, match=says):
        plan_of(folder)


def test_a_mat_file_with_two_arrays_or_none_is_refused(tmp_path: Path) -> None:
    folder = make_mat_masks(tmp_path / "mat")
    labels = np.zeros((8, 10), np.uint8)
    save_mat(folder / "masks/00.mat", a=labels, b=labels)
    save_mat(folder / "masks/01.mat", a=np.zeros((2, 3, 4)))
    save_mat(folder / "masks/02.mat", a=labels + 0.5)
    (folder / "masks/03.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n")
    data = (folder / "masks/04.mat").read_bytes()
    (folder / "masks/04.mat").write_bytes(data[:-20])
    save_mat(folder / "masks/05.mat", a=np.zeros((8, 9), np.uint8))
    says = (
        "masks/00.mat: holds a 8 x 10, b 8 x 10; allowed is one array of two dimensions",
        "masks/01.mat: holds a 2 x 3 x 4; allowed is one array",
        "masks/02.mat: labels that are not whole numbers",
        "masks/03.mat: a .mat file of version 7.3; save it with -v7",
        "masks/04.mat: ",
        "masks/05.mat: image 8 x 10, labels 8 x 9",
    )
    problems = problems_of(folder, tmp_path / "set")
    assert len(problems) == len(says)
    assert all(problem.startswith(text) for problem, text in zip(problems, says, strict=True)), problems


def test_a_mat_file_has_a_limit_of_pixels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mat_file, "MAX_PIXELS", 79)
    save_mat(tmp_path / "a.mat", labels=np.zeros((8, 10)))
    with pytest.raises(DataError, match="more than 79 pixels"):
        mat_file.read_labels((tmp_path / "a.mat").read_bytes(), where="a.mat")


def test_a_decompression_bomb_is_a_problem_like_others(tmp_path: Path) -> None:
    folder = make_list_files(tmp_path / "lists")
    for path in ("photos/day0/00.png", "drawn/01.png"):
        for side in (12_000, 100_000):  # within Pillow's error limit, where it only warns; and beyond it
            data = bytearray((folder / path).read_bytes())
            data[16:24] = side.to_bytes(4) * 2
            data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
            (folder / path).write_bytes(data)
            where = "/".join(Path(path).parts[-2:])
            problems = problems_of(folder, tmp_path / "set")
            assert any(text.startswith(f"{where}: more than 134,217,728 pixels") for text in problems)


def test_damaged_mat_files_and_stacks_are_problems_and_nothing_worse(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scipy.io.savemat(tmp_path / "plain.mat", {"labels": drawn(0, [0, 1, 2])}, do_compression=False)
    save_stack(tmp_path / "stack.tif", np.zeros((3, 8, 10), np.uint8))
    for name, decode in (("plain.mat", mat_file.read_labels), ("stack.tif", image_file.decode_stack)):
        whole = (tmp_path / name).read_bytes()
        refused = 0
        for _ in range(300):
            data = bytearray(whole)
            data[rng.integers(len(data))] = rng.integers(256)
            try:
                decode(bytes(data), where=name)
            except DataError:
                refused += 1
        assert refused > 30, name
