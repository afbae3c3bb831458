"""Data packs whose licences keep them out of the repository, found through ``SEGSEARCH_DATA``."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from search_spaces.candidate import to_json
from search_spaces.preset import load_preset
from workers.contract import DataView, EpochResult, Leg
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.leg import run_leg


def pack(name: str) -> Path:
    """Folder of a pack, or a skip that says what is missing."""
    root = os.environ.get("SEGSEARCH_DATA")
    if not root:
        pytest.skip(f"SEGSEARCH_DATA is not set, so {name} was not read")
    folder = Path(root) / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there, so {name} was not read")
    return folder


def test_membranes_of_the_isbi_stack_are_learned_from_images(tmp_path: Path) -> None:
    stack = pack("isbi_em") / "membrane" / "train"
    source = tmp_path / "isbi"
    source.mkdir()
    (source / "images").symlink_to(stack / "image")
    (source / "masks").symlink_to(stack / "label")
    classes = [{"name": "membrane", "value": 0}, {"name": "cell", "value": 255}]
    (source / "classes.json").write_text(json.dumps(classes))
    ids = sorted(path.stem for path in (stack / "image").iterdir())
    splits = {"train": ids[:20], "validation": ids[20:22], "test": ids[22:]}
    (source / "splits.json").write_text(json.dumps(splits))
    manifest = ingest(source, str(tmp_path / "data"))
    assert [info.name for info in manifest.classes] == ["membrane", "cell"]
    assert open_dataset(str(tmp_path / "data")).ndim == 2

    candidate = load_preset("small_unet").candidate()
    candidate = dataclasses.replace(candidate, recipe=dataclasses.replace(candidate.recipe, warmup=0.0))
    view = DataView(str(tmp_path / "data"), manifest.digest, "images", (128, 128), 4, epoch_samples=48)
    leg = Leg("packs", 0, 1, to_json(candidate), 0, 0, 2, 2, None, view, str(tmp_path / "runs"))
    epochs: list[EpochResult] = []
    result = run_leg(leg, epochs.append, lambda: False)
    assert result.status == "completed", result.message
    assert epochs[-1].loss < epochs[0].loss
    all_cell = 0.4  # mIoU of calling every pixel cell: 0.78 / 2
    assert epochs[-1].metrics["miou"] > all_cell
