"""Small sources made on the spot, one maker a kind."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from layouts import (
    make_ade20k,
    make_camvid,
    make_cityscapes,
    make_class_masks,
    make_dicom_series,
    make_list_files,
    make_mat_masks,
    make_object_masks,
    make_pascal_context,
    make_pascal_voc,
    make_tiff_stacks,
)
from PIL import Image

MakeSource = Callable[[Path], Path]


def save_volume(
    path: Path, values: npt.NDArray[np.generic], spacing: tuple[float, ...] = (1.0, 1.0, 2.5)
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.nifti1.Nifti1Image(values, np.diag([*spacing, 1.0])), path)


def save_picture(path: Path, values: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def make_decathlon(folder: Path, cases: int = 12, channels: int = 2) -> Path:
    pairs = []
    for number in range(cases):
        rng = np.random.default_rng(number)
        shape = (6 + number % 3, 5, 4)
        name = f"case_{number:03d}.nii.gz"
        save_volume(folder / "imagesTr" / name, rng.normal(100, 20, (*shape, channels)).astype(np.float32))
        save_volume(folder / "labelsTr" / name, rng.integers(0, 3, shape, dtype=np.uint8))
        pairs.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    description = {
        "name": "Made",
        "licence": "CC0",
        "reference": "made for a test",
        "modality": {str(channel): f"MR {channel}" for channel in range(channels)},
        "labels": {"0": "background", "1": "left", "2": "right"},
        "training": pairs,
        "test": ["./imagesTs/case_999.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def make_nifti_pairs(folder: Path, cases: int = 12) -> Path:
    for number in range(cases):
        rng = np.random.default_rng(number)
        save_volume(
            folder / f"p{number}" / f"p{number}_image.nii.gz", rng.integers(0, 900, (5, 6, 3), dtype=np.int16)
        )
        save_volume(
            folder / f"p{number}" / f"p{number}_label.nii.gz", rng.integers(0, 2, (5, 6, 3), dtype=np.uint8)
        )
    return folder


def make_image_masks(folder: Path, cases: int = 12) -> Path:
    for number in range(cases):
        rng = np.random.default_rng(number)
        mask = rng.integers(0, 3, (8, 10), dtype=np.uint8)
        mask[0, :3] = 255
        save_picture(
            folder / "images" / f"shot{number}.png", rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)
        )
        save_picture(folder / "masks" / f"shot{number}.png", mask)
    return folder


MAKERS: dict[str, MakeSource] = {
    "ade20k": make_ade20k,
    "camvid": make_camvid,
    "cityscapes": make_cityscapes,
    "class_masks": make_class_masks,
    "decathlon": make_decathlon,
    "dicom_series": make_dicom_series,
    "image_masks": make_image_masks,
    "list_files": make_list_files,
    "mat_masks": make_mat_masks,
    "nifti_pairs": make_nifti_pairs,
    "object_masks": make_object_masks,
    "pascal_context": make_pascal_context,
    "pascal_voc": make_pascal_voc,
    "tiff_stacks": make_tiff_stacks,
}


@pytest.fixture
def makers() -> dict[str, MakeSource]:
    """How to make a folder of each kind of source; a new source adds its maker here."""
    return MAKERS


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return make_image_masks(tmp_path / "shots")


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    return make_decathlon(tmp_path / "scans")
