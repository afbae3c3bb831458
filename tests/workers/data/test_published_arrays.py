"""What is special to layouts of stacks, arrays and masks of objects, and how damaged ones end."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from layouts import (
    drawn,
    make_list_files,
    make_mat_masks,
    make_object_masks,
    make_pascal_context,
    make_tiff_stacks,
    save,
    save_mat,
    save_stack,
)
from PIL import Image
from published import indices, plan_of, problems_of, splits

from workers import image_file, mat_file
from workers.errors import DataError
from workers.source import open_source, recognise


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
        (
            np.arange(80, dtype=np.uint8).reshape(8, 10),
            "values 0, 1, 2, 3, 4; a mask of one object or class has 0",
        ),
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
