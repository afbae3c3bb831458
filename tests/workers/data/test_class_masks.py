"""Masks that overlap: combinations become classes, folders become regions, and come back out as they went in."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from layouts import SIZE, make_class_masks, make_object_masks, noise, save
from PIL import Image

from orchestrator.job import load_job_document
from orchestrator.plan import make_plan
from search_spaces.regions import Region
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.data.manifest import Manifest, from_bytes, to_bytes
from workers.data.preview import preview
from workers.data.raw import raw_cases
from workers.data.transfer import copy_dataset
from workers.data.unpack import export_files
from workers.data.verify import describe, verify_dataset
from workers.errors import DataError
from workers.regions import inside_regions
from workers.source import open_source, recognise
from workers.source_pictures import binary_mask


def make_few(folder: Path, masks: dict[str, dict[int, npt.NDArray[Any]]]) -> Path:
    """Twelve pictures; of each class masks by the number of the picture."""
    for number in range(12):
        save(folder / "images" / f"{number:02d}.png", noise(number))
    for name, of in masks.items():
        for number, mask in of.items():
            save(folder / "masks" / name / f"{number:02d}.png", mask.astype(np.uint8))
    return folder


def box(rows: slice, columns: slice, value: int = 255) -> npt.NDArray[Any]:
    mask = np.zeros(SIZE, np.uint8)
    mask[rows, columns] = value
    return mask


def test_combinations_become_classes_and_folders_regions(tmp_path: Path) -> None:
    folder = make_class_masks(tmp_path / "raw")
    manifest = ingest(folder, str(tmp_path / "set"))
    names = [info.name for info in manifest.classes]
    assert names == ["background", "cell", "debris", "cell+debris", "cell+nucleus", "cell+debris+nucleus"]
    assert manifest.regions == (
        Region("cell", (1, 3, 4, 5)), Region("debris", (2, 3, 5)), Region("nucleus", (4, 5)),
    )  # fmt: skip
    assert any("3 of 5 classes are overlaps" in note for note in manifest.notes)
    dataset = open_dataset(str(tmp_path / "set"))
    for split in manifest.splits:
        for id in dataset.ids(split):
            labels = dataset.case(id).labels
            assert labels is not None
            inside = inside_regions(labels, manifest.regions, ignore_index=255)
            for found, region in zip(inside, manifest.regions, strict=True):
                path = folder / "masks" / region.name / f"{id}.png"
                expected = np.zeros(SIZE, np.uint8)
                if path.exists():
                    with Image.open(path) as picture:
                        expected = (np.asarray(picture) > 0).astype(np.uint8)
                np.testing.assert_array_equal(found, expected)
    for raw in raw_cases(folder, ["00", "01"]):
        np.testing.assert_array_equal(raw.labels, dataset.case(raw.id).labels)
    assert preview(folder).digest == manifest.digest


def test_a_manifest_keeps_its_regions_and_others_are_written_as_before(tmp_path: Path) -> None:
    manifest = ingest(make_class_masks(tmp_path / "raw"), str(tmp_path / "set"))
    assert from_bytes(to_bytes(manifest), where="here").regions == manifest.regions
    copy_dataset(str(tmp_path / "set"), str(tmp_path / "copy"))
    copied: Manifest = open_dataset(str(tmp_path / "copy")).manifest
    assert copied.regions == manifest.regions and verify_dataset(str(tmp_path / "copy")).is_whole
    facts = describe(open_dataset(str(tmp_path / "copy")))
    assert facts["regions"]["nucleus"] == ["cell+nucleus", "cell+debris+nucleus"]
    plain = ingest(make_object_masks(tmp_path / "other"), str(tmp_path / "plain"))
    assert b"regions" not in to_bytes(plain) and "regions" not in describe(
        open_dataset(str(tmp_path / "plain"))
    )


def test_a_job_learns_the_regions_of_its_data_by_default(tmp_path: Path) -> None:
    ingest(make_class_masks(tmp_path / "raw"), str(tmp_path / "set"))

    def plan(data: str) -> tuple[str, ...]:
        (tmp_path / "job.yaml").write_text(
            f"name: cells\ndataset: {tmp_path}/set\ndata: {{size: [16, 16], batch: 2{data}}}\n"
        )
        made = make_plan(*load_job_document(tmp_path / "job.yaml"))
        assert (
            made.job.data.regions is not None
        )  # a search that goes on later learns the same, whatever the manifest says then
        assert {*made.job.data.regions} == {region.name for region in made.view.regions}
        return tuple(region.name for region in made.view.regions)

    assert plan("") == ("cell", "debris", "nucleus")
    assert plan(", regions: {}") == ()
    assert plan(', regions: {whole: [cell, "cell+debris", "cell+nucleus", "cell+debris+nucleus"]}') == (
        "whole",
    )


def test_a_folder_of_masks_by_class_is_told_from_one_of_label_maps(tmp_path: Path) -> None:
    folder = make_class_masks(tmp_path / "raw")
    assert recognise(folder) == "class_masks"
    for split in ("train", "val", "test"):
        save(tmp_path / "splits/images" / split / "a.png", noise(0))
        save(tmp_path / "splits/masks" / split / "a.png", box(slice(3), slice(3), 1))
    assert recognise(tmp_path / "splits") == "image_masks"
    save(folder / "masks" / "00.png", box(slice(3), slice(3), 1))
    assert recognise(folder) == "image_masks"


def problems_of(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        ingest(folder, str(folder.parent / "set"))
    return str(caught.value)


def test_images_and_masks_without_the_other_are_named(tmp_path: Path) -> None:
    whole = {number: box(slice(3), slice(4)) for number in range(11)}
    folder = make_few(tmp_path / "raw", {"a": whole, "b": {3: box(slice(2, 5), slice(4))}})
    save(folder / "masks" / "b" / "99.png", box(slice(2), slice(2)))
    found = problems_of(folder)
    assert "1 images have no mask: 11; give them an empty mask where nothing is in them" in found
    assert "1 masks have no image: 99" in found
    manifest = ingest(folder, str(tmp_path / "some"), skip_bad=True)
    assert sum(split.rows for split in manifest.splits.values()) == 11


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (np.array([[0, 1, 2]], np.uint8), "masks/b/05.png: image 8 x 10, mask 1 x 3; give both the same size"),
        (np.arange(80, dtype=np.uint8).reshape(SIZE) % 3, "values 0, 1, 2; a mask of one object or class has 0 and one other"),
    ],
)  # fmt: skip
def test_a_mask_that_is_none_is_named(tmp_path: Path, broken: npt.NDArray[Any], message: str) -> None:
    whole = {number: box(slice(3), slice(4)) for number in range(12)}
    folder = make_few(tmp_path / "raw", {"a": whole, "b": {3: box(slice(2, 5), slice(4)), 5: broken}})
    assert message in problems_of(folder)


def test_a_suffix_in_letters_of_both_cases_is_named_and_its_mask_not_lost(tmp_path: Path) -> None:
    whole = {number: box(slice(3), slice(4)) for number in range(12)}
    folder = make_few(tmp_path / "raw", {"a": whole, "b": {3: box(slice(2, 5), slice(4))}})
    (folder / "masks" / "a" / "00.png").rename(folder / "masks" / "a" / "00.PNG")
    assert len(ingest(folder, str(tmp_path / "capital")).classes) == 4
    (folder / "masks" / "b" / "03.png").rename(folder / "masks" / "b" / "03.Png")
    assert "masks/b: 1 suffixes mix small and capital letters: 03.Png; use small ones" in problems_of(folder)


def test_names_empty_folders_and_too_many_combinations_are_refused(tmp_path: Path) -> None:
    whole = {number: box(slice(3), slice(4)) for number in range(12)}
    folder = make_few(tmp_path / "raw", {"a": whole, "b c": whole, "none": {0: np.zeros(SIZE)}})
    found = problems_of(folder)
    assert "masks: 'b c' is no name of a region" in found
    assert "none: no label has a pixel of it, so there is nothing to learn; leave it out" in found
    rng = np.random.default_rng(0)
    many = {f"c{n}": {number: rng.integers(0, 2, SIZE) for number in range(12)} for n in range(9)}
    assert "combinations of classes occur; allowed are 254 beside the background" in problems_of(
        make_few(tmp_path / "many", many)
    )
    folders = {f"c{n:02d}": whole for n in range(25)}
    assert "masks: 25 of them; allowed are 24; unite some" in problems_of(
        make_few(tmp_path / "wide", folders)
    )


def test_a_pixel_may_be_in_all_of_24_classes(tmp_path: Path) -> None:
    whole = {number: box(slice(3), slice(4)) for number in range(12)}
    folder = make_few(tmp_path / "raw", {f"c{n:02d}": whole for n in range(24)})
    (folder / "splits.json").write_text(
        json.dumps(
            {"train": [f"{n:02d}" for n in range(8)], "validation": ["08", "09"], "test": ["10", "11"]}
        )
    )
    manifest = ingest(folder, str(tmp_path / "set"))
    assert len(manifest.classes) == 2 and len(manifest.regions) == 24
    assert open_source("class_masks").plan(folder).symmetries == ("width",)


def test_regions_beside_any_source_go_into_the_manifest_and_out_again(tmp_path: Path) -> None:
    first = ingest(make_class_masks(tmp_path / "raw"), str(tmp_path / "set"))
    done = export_files(str(tmp_path / "set"), tmp_path / "files")
    assert done.digest == done.digest_of_files == first.digest
    assert recognise(tmp_path / "files") == "image_masks"
    assert ingest(tmp_path / "files", str(tmp_path / "again")).regions == first.regions
    mine = tmp_path / "files" / "regions.json"
    mine.write_text(json.dumps({"any": ["cell", "debris"]}))
    assert ingest(tmp_path / "files", str(tmp_path / "other")).regions == (Region("any", (1, 2)),)
    mine.write_text(json.dumps({"any": ["cel"]}))
    assert "regions.json: any.0: unknown class of the data set 'cel'; did you mean 'cell'?" in problems_of(
        mine.parent
    )
    mine.write_text(json.dumps(["any"]))
    assert 'regions.json: expected {"region": ["class", …], …}.' in problems_of(mine.parent)


def test_a_content_that_stands_with_other_regions_is_not_taken_for_the_wanted_one(tmp_path: Path) -> None:
    whole = {number: box(slice(3), slice(4), 1) for number in range(12)}
    folder = make_few(tmp_path / "raw", {"": whole})
    (folder / "classes.json").write_text(json.dumps(["ground", "any"]))
    assert (
        ingest(folder, str(tmp_path / "set")).regions == ingest(folder, str(tmp_path / "set")).regions == ()
    )
    (folder / "regions.json").write_text(json.dumps({"all": ["any"]}))
    with pytest.raises(DataError, match=r"set: holds this content with other regions; give another dest"):
        ingest(folder, str(tmp_path / "set"))
    made = ingest(folder, str(tmp_path / "other"))
    assert made.regions == (Region("all", (1,)),) and ingest(folder, str(tmp_path / "other")) == made
    with pytest.raises(DataError, match=r"set: holds this content with other regions; give another dest"):
        copy_dataset(str(tmp_path / "other"), str(tmp_path / "set"))


def test_regions_need_names_of_classes(tmp_path: Path) -> None:
    folder = make_few(tmp_path / "raw", {"": {number: box(slice(3), slice(4), 1) for number in range(12)}})
    (folder / "regions.json").write_text(json.dumps({"any": ["class 1"]}))
    assert "regions.json: the classes have no names; give them some in classes.json" in problems_of(folder)
    (folder / "classes.json").write_text(json.dumps(["ground", "any"]))
    (folder / "regions.json").write_text(json.dumps({"any": ["any", "ground"]}))
    assert "regions.json: any: holds every class of the data set" in problems_of(folder)


def test_a_mask_is_read_once_and_by_a_proof_only_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_class_masks(tmp_path / "raw")
    num_masks = len(list(folder.glob("masks/*/*.png")))
    opened: list[Path] = []

    def spied(path: Path, size: tuple[int, ...] | None) -> object:
        opened.append(path)
        return binary_mask(path, size)

    monkeypatch.setattr("workers.sources.class_masks.binary_mask", spied)
    manifest = ingest(folder, str(tmp_path / "set"), jobs=1)
    assert len(opened) == len(set(opened)) == num_masks
    opened.clear()
    names = [info.name for info in manifest.classes]
    (raw,) = raw_cases(folder, ["01"], classes=names)
    assert [path.stem for path in opened] == ["01"] * 3
    np.testing.assert_array_equal(raw.labels, open_dataset(str(tmp_path / "set")).case("01").labels)
    with pytest.raises(DataError, match="nothing of lysosome is there any more; give the folder"):
        list(raw_cases(folder, ["01"], classes=[*names, "cell+lysosome"]))
    monkeypatch.setattr("workers.data.scan.KEPT_BYTES", 300)
    opened.clear()
    assert ingest(folder, str(tmp_path / "again"), jobs=1).digest == manifest.digest
    assert num_masks < len(opened) < 2 * num_masks, "there was room for some"
