"""A network that finds objects, trained, exported and proved by torch and by onnxruntime from files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from objects import SMALL, squares
from PIL import Image

from search_spaces.candidate import Candidate, to_json
from search_spaces.loss import Loss, Weighted
from search_spaces.losses.detection import Detection
from search_spaces.recipe import Recipe
from workers.contract import DataView, EpochResult, Leg
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.export import Trained, export, verify
from workers.leg import run_leg


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("squares")
    images, labels, _ = squares(40, torch.Generator().manual_seed(0))
    for place in ("images", "masks"):
        (folder / place).mkdir()
    for number, (image, label) in enumerate(zip(images[:, 0].numpy(), labels.numpy(), strict=True)):
        grey = np.clip(128 + 80 * image, 0, 255).astype(np.uint8)
        Image.fromarray(grey).save(folder / "images" / f"{number:02d}.png")
        Image.fromarray(label.astype(np.uint8)).save(folder / "masks" / f"{number:02d}.png")
    return folder


@pytest.mark.slow
def test_an_export_of_it_is_proved(pictures: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    manifest = ingest(pictures, str(tmp_path / "set"))
    view = DataView(str(tmp_path / "set"), manifest.digest, "images", (64, 64), 8, epoch_samples=480)
    candidate = Candidate(SMALL, Loss((Weighted(Detection()),)), Recipe(learning_rate=2e-3, warmup=0.05))
    epochs: list[EpochResult] = []
    leg = Leg("made", 1, 1, to_json(candidate), 5, 0, 2, 2, None, view, str(tmp_path / "runs"))
    result = run_leg(leg, epochs.append, lambda: False)
    assert result.status == "completed", result.message
    last = epochs[-1]
    assert last.metrics["dice"] > 0.6  # it found squares, so that the comparison means something
    trained = Trained(
        last.checkpoint, leg.candidate, view, leg.split, last.metrics, {"search": "made", "trial": 1}
    )
    proof = export(trained, open_dataset(view.dataset), tmp_path / "export", raw=pictures)
    assert proof["measured"]["onnxruntime"]["dice"] == pytest.approx(last.metrics["dice"], abs=1e-3)
    assert verify(tmp_path / "export")["measured"] == proof["measured"]
