"""Volumes whose labels have a channel a class, and descriptions with regions: declared, never guessed."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from search_spaces.regions import Region
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.data.preview import preview
from workers.data.raw import raw_cases
from workers.errors import DataError
from workers.regions import inside_regions

SHAPE = (6, 5, 4)


def save(path: Path, values: npt.NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.nifti1.Nifti1Image(values, np.eye(4)), path)


def channels(number: int, kind: type = np.uint8) -> npt.NDArray[Any]:
    """A whole with a core in it, and apart from both a cyst that meets the whole."""
    labels = np.zeros((*SHAPE, 3), kind)
    labels[1:4, ..., 0] = 1
    labels[2, : 2 + number, 1:3, 1] = 1
    labels[3:5, 0, :, 2] = 1
    return labels


@pytest.fixture(params=["pairs", "decathlon"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Three cases; one has floating labels, as programs write them."""
    root = tmp_path / "raw"
    places = ("images", "labels") if request.param == "pairs" else ("imagesTr", "labelsTr")
    listed = []
    for number in range(3):
        name = f"v{number}.nii.gz"
        save(root / places[0] / name, np.arange(120, dtype=np.int16).reshape(SHAPE) + number)
        save(root / places[1] / name, channels(number, np.float32 if number == 1 else np.uint8))
        listed.append({"image": f"imagesTr/{name}", "label": f"labelsTr/{name}"})
    if request.param == "decathlon":
        (root / "dataset.json").write_text(json.dumps({"training": listed, "modality": {"0": "MR"}}))
    (root / "label_channels.json").write_text('["whole", "core", "cyst"]')
    return root


def test_channels_become_regions_and_their_overlaps_classes(folder: Path, tmp_path: Path) -> None:
    manifest = ingest(folder, str(tmp_path / "set"), jobs=1)
    names = [info.name for info in manifest.classes]
    assert names == ["background", "whole", "cyst", "whole+core", "whole+cyst"]
    assert manifest.regions == (
        Region("whole", (1, 3, 4)), Region("cyst", (2, 4)), Region("core", (3,)),
    )  # fmt: skip
    dataset = open_dataset(str(tmp_path / "set"))
    wanted = [["whole", "core", "cyst"].index(region.name) for region in manifest.regions]
    for number in range(3):
        labels = dataset.case(f"v{number}").labels
        assert labels is not None
        inside = inside_regions(labels, manifest.regions, ignore_index=255)
        np.testing.assert_array_equal(inside, np.moveaxis(channels(number), -1, 0)[wanted])
    for raw in raw_cases(folder, ["v0", "v2"], classes=names):
        np.testing.assert_array_equal(raw.labels, dataset.case(raw.id).labels)
    assert preview(folder).digest == manifest.digest


def refused(folder: Path, tmp_path: Path) -> str:
    with pytest.raises(DataError) as caught:
        ingest(folder, str(tmp_path / "set"), jobs=1)
    assert not (tmp_path / "set").exists()
    return str(caught.value)


def test_channels_are_not_guessed(folder: Path, tmp_path: Path) -> None:
    (folder / "label_channels.json").unlink()
    if (folder / "dataset.json").exists():
        assert 'expected "labels"' in refused(folder, tmp_path)
        return
    assert (
        "labels/v0.nii.gz: labels with 3 channels; allowed is one, or a label_channels.json beside the data that "
        'names them in their order, such as ["whole", "core"].'
    ) in refused(folder, tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('["whole", "core"]', "v0.nii.gz: labels with 3 channels; label_channels.json names 2; allowed are as many."),
        ('["whole", "core", "cyst", "none"]', "label_channels.json names 4"),
        ('["whole", "core", "core"]', "names given twice"),
        ('["whole", "core", "mean"]', "'mean' is no name of a region"),
        ("[]", "expected the names of the channels"),
        ('{"whole": 0}', "expected the names of the channels"),
    ],
)  # fmt: skip
def test_a_wrong_declaration(folder: Path, tmp_path: Path, text: str, says: str) -> None:
    (folder / "label_channels.json").write_text(text)
    assert says in refused(folder, tmp_path)


def test_a_channel_holds_0_and_1_only(folder: Path, tmp_path: Path) -> None:
    labels = channels(1)
    labels[0, 0, :2, 1] = 3
    place = next(path for path in folder.iterdir() if path.name.startswith("labels"))
    save(place / "v1.nii.gz", labels)
    assert "v1.nii.gz: channel 1 has the value 3 and others, 2 times; allowed are 0 and 1." in refused(
        folder, tmp_path
    )


def test_classes_and_channels_are_not_declared_both(folder: Path, tmp_path: Path) -> None:
    if (folder / "dataset.json").exists():
        description = json.loads((folder / "dataset.json").read_text())
        labels = {"labels": {"0": "background", "1": "tumour"}}
        (folder / "dataset.json").write_text(json.dumps({**description, **labels}))
    else:
        (folder / "classes.txt").write_text("background\ntumour\n")
    assert "give the channels or the classes, not both" in refused(folder, tmp_path)


def described(folder: Path, labels: dict[str, object]) -> Path:
    listed = []
    for number in range(3):
        name = f"v{number}.nii.gz"
        save(folder / "imagesTr" / name, np.arange(120, dtype=np.int16).reshape(SHAPE) + number)
        values = np.zeros(SHAPE, np.uint8)
        values[1], values[2], values[3], values[4, 0] = 1, 2, 3, 4
        save(folder / "labelsTr" / name, values)
        listed.append({"image": f"imagesTr/{name}", "label": f"labelsTr/{name}"})
    (folder / "dataset.json").write_text(json.dumps({"training": listed, "labels": labels}))
    return folder


def test_regions_of_a_description_are_unions_of_values(tmp_path: Path) -> None:
    folder = described(
        tmp_path / "raw",
        {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4},
    )
    manifest = ingest(folder, str(tmp_path / "set"), jobs=1)
    assert [info.name for info in manifest.classes] == [
        "background", "whole", "whole+core", "whole+core+enhancing",
    ]  # fmt: skip
    assert manifest.regions == (
        Region("whole", (1, 2, 3)), Region("core", (2, 3)), Region("enhancing", (3,)),
    )  # fmt: skip
    assert manifest.splits["train"].ignored_pixels == 4, "a row of four voxels, in the one training case"


def test_values_that_no_region_tells_apart_keep_their_number(tmp_path: Path) -> None:
    folder = described(tmp_path / "raw", {"background": 0, "whole": [1, 2, 3, 4], "core": [3, 4]})
    manifest = ingest(folder, str(tmp_path / "set"), jobs=1)
    assert [info.name for info in manifest.classes] == [
        "background", "whole 1", "whole 2", "whole+core 3", "whole+core 4",
    ]  # fmt: skip
    twice = described(tmp_path / "twice", {"background": 0, "whole": [1, 2, 3, 4], "all": [4, 3, 2, 1]})
    with pytest.raises(
        DataError, match=r"labels: all: holds the same classes as 'whole'; keep one of the two"
    ):
        ingest(twice, str(tmp_path / "none"), jobs=1)
