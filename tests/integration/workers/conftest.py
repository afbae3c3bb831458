"""Two exports of tiny trained networks: of real volumes, and of made pictures."""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces.candidate import to_json
from search_spaces.encoders.cells import Cells
from search_spaces.preprocessing import Preprocessing
from search_spaces.preset import load_preset
from workers.contract import DataView, EpochResult, Leg
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.export import Trained, export
from workers.leg import run_leg


@dataclass(frozen=True)
class Exported:
    """An export and where it came from."""

    folder: Path
    raw: Path
    trained: Trained
    proof: dict[str, Any]


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory, small_raw: Path) -> Exported:
    return _exported(small_raw, tmp_path_factory.mktemp("volumes"), "slices", (48, 64), Preprocessing())


@pytest.fixture(scope="session")
def export_of_volumes(small_raw: Path) -> Callable[..., Exported]:
    """Train on slices of volumes with more of a view, and export."""

    def make(folder: Path, **view: Any) -> Exported:
        return _exported(small_raw, folder, "slices", (48, 64), Preprocessing(), **view)

    return make


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory, red_pictures: Path) -> Exported:
    folder = tmp_path_factory.mktemp("pictures")
    shutil.copytree(red_pictures, folder / "raw")  # tests change it
    return _exported(folder / "raw", folder, "images", (16, 16), Preprocessing(crop="nonzero"))


def _exported(
    raw: Path, folder: Path, kind: Any, size: tuple[int, ...], preprocessing: Preprocessing, **more: Any
) -> Exported:
    torch.set_num_threads(1)
    manifest = ingest(raw, str(folder / "set"))
    view = DataView(str(folder / "set"), manifest.digest, kind, size, 8, epoch_samples=320, **more)
    preset = load_preset("small_unet").candidate()
    encoder = preset.architecture.encoder
    assert isinstance(encoder, Cells)
    small = dataclasses.replace(
        preset,
        architecture=dataclasses.replace(
            preset.architecture, encoder=dataclasses.replace(encoder, width=8, stages=3)
        ),
        recipe=dataclasses.replace(preset.recipe, average=0.9, learning_rate=1e-2),
        preprocessing=preprocessing,
    )
    epochs: list[EpochResult] = []
    leg = Leg("made", 1, 1, to_json(small), 5, 0, 2, 2, None, view, str(folder / "runs"))
    result = run_leg(leg, epochs.append, lambda: False)
    assert result.status == "completed", result.message
    last = epochs[-1]
    trained = Trained(
        last.checkpoint, leg.candidate, view, leg.split, last.metrics, {"search": "made", "trial": 1}
    )
    proof = export(trained, open_dataset(view.dataset), folder / "export", raw=raw)
    return Exported(folder / "export", raw, trained, proof)
