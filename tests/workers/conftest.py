"""Tiny data sets, made once and ingested, a network that trains on them in milliseconds, and one thread for every test."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from search_spaces.candidate import Candidate, to_json
from search_spaces.encoders.cells import Cells
from search_spaces.preset import load_preset
from workers.contract import DataView, Leg
from workers.data.ingest import ingest
from workers.preprocessing import Prepared, Scaling, Undo

MakeLeg = Callable[..., Leg]
MakePrepared = Callable[..., Prepared]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> DataView:
    """Volumes of 16 x 14 x 4 voxels with a bright box to find, read as slices."""
    folder = tmp_path_factory.mktemp("scans")
    pairs = []
    for number in range(12):
        rng = np.random.default_rng(number)
        labels = np.zeros((16, 14, 4), np.uint8)
        x, y = rng.integers(2, 8, size=2)
        labels[x : x + 5, y : y + 4, 1:] = 1
        image = rng.normal(100, 10, labels.shape) + 60 * labels
        name = f"case_{number:02d}.nii.gz"
        for place, values in (("imagesTr", image.astype(np.float32)), ("labelsTr", labels)):
            (folder / "raw" / place).mkdir(parents=True, exist_ok=True)
            volume = nib.nifti1.Nifti1Image(values, np.diag([1.0, 1.0, 2.5, 1.0]))
            volume.to_filename(folder / "raw" / place / name)
        pairs.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    description = {"labels": {"0": "background", "1": "box"}, "modality": {"0": "MRI"}, "training": pairs}
    (folder / "raw" / "dataset.json").write_text(json.dumps(description))
    manifest = ingest(folder / "raw", str(folder / "set"))
    return DataView(str(folder / "set"), manifest.digest, "slices", (16, 16), 4, epoch_samples=12)


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory, red_pictures: Path) -> DataView:
    """The red pictures as a data set."""
    folder = tmp_path_factory.mktemp("shots")
    manifest = ingest(red_pictures, str(folder / "set"))
    return DataView(str(folder / "set"), manifest.digest, "images", (16, 16), 4, epoch_samples=12)


@pytest.fixture(scope="session")
def small() -> Candidate:
    """The small U-Net preset, narrower and shallower, with a moving average of its weights."""
    preset = load_preset("small_unet").candidate()
    encoder = preset.architecture.encoder
    assert isinstance(encoder, Cells)
    return dataclasses.replace(
        preset,
        architecture=dataclasses.replace(
            preset.architecture, encoder=dataclasses.replace(encoder, width=8, stages=3)
        ),
        recipe=dataclasses.replace(preset.recipe, average=0.9),
    )


@pytest.fixture
def make_leg(scans: DataView, small: Candidate, tmp_path: Path) -> MakeLeg:
    """A leg of two epochs on the scans; keywords change its fields."""

    def make(candidate: Candidate = small, **fields: Any) -> Leg:
        standard: dict[str, Any] = {
            "search": "made",
            "trial": 3,
            "fence": 7,
            "candidate": to_json(candidate),
            "seed": 11,
            "first_epoch": 0,
            "last_epoch": 2,
            "max_epochs": 4,
            "checkpoint": None,
            "data": scans,
            "storage": str(tmp_path / "runs"),
        }
        return Leg(**{**standard, **fields})

    return make


@pytest.fixture
def make_prepared() -> MakePrepared:
    """A prepared case whose channels number their voxels from 1 on; its labels are the first's numbers modulo a count."""

    def make(
        *shape: int, classes: int = 3, channels: int = 1, orientation: Any = None, id: str = "case"
    ) -> Prepared:
        numbers = np.arange(1, int(np.prod(shape)) + 1).reshape(shape)
        undo = Undo(shape, orientation, shape, tuple(slice(0, n) for n in shape), shape)
        return Prepared(
            id,
            np.stack([numbers + channel * numbers.size for channel in range(channels)]).astype(np.float32),
            Scaling(*np.repeat(np.array([[0], [1], [-np.inf], [np.inf]], np.float32), channels, axis=1)),
            (numbers % classes).astype(np.uint8),
            undo,
        )

    return make
