"""A proof measures again what a search was after, also where it is no metric of the confusion matrix."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from workers.data.dataset import open_dataset
from workers.errors import ExportError
from workers.evaluate import evaluate
from workers.export import export, verify
from workers.measure import measures
from workers.network_file import load_description, load_torch
from workers.prepared_cases import PreparedCases


def measured(volumes: Any) -> dict[str, float]:
    description = load_description(volumes.folder)
    trained = volumes.trained
    cases = PreparedCases(open_dataset(trained.view.dataset), trained.split, description.fitted)
    return evaluate(
        load_torch(volumes.folder, description),
        cases,
        trained.view,
        names=description.class_names,
        ignore_index=description.ignore_index,
        measures=measures(["surface", "boundary"]),
    ).metrics


def test_a_recorded_distance_is_measured_again(volumes: Any, tmp_path: Path) -> None:
    found = measured(volumes)
    assert found["hd95"] > 0 and {"asd/Anterior", "case_boundary_f1"} <= found.keys()
    trained = dataclasses.replace(volumes.trained, metrics=found)
    dataset = open_dataset(trained.view.dataset)
    proof = export(trained, dataset, tmp_path / "right", raw=volumes.raw)
    assert proof["recorded"]["hd95"] == proof["measured"]["torch"]["hd95"] == found["hd95"]
    assert "hd95" not in proof["measured"]["onnxruntime"]
    assert verify(tmp_path / "right")["measured"]["torch"]["asd"] == found["asd"]
    false = dataclasses.replace(trained, metrics={**found, "hd95": found["hd95"] - 0.1})
    with pytest.raises(ExportError, match="hd95 was recorded as"):
        export(false, dataset, tmp_path / "false", raw=volumes.raw)
