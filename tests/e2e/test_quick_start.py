"""The newcomer's path through the command line, on real volumes and a real Ray."""

import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from orchestrator.journal import Journal


def test_init_ingest_and_validate(workspace: Any) -> None:
    shutil.rmtree(workspace.folder / "data")
    started = workspace.json("init", "raw")
    assert started["found"] == "raw: 10 labelled volumes, layout decathlon"
    assert started["next"] == ["segsearch data ingest raw data/hippocampus", "segsearch run hippocampus.yaml"]
    described = workspace.json("data", "ingest", "raw", "data/hippocampus")
    assert {name: split["cases"] for name, split in described["splits"].items()} == {
        "train": 5,
        "validation": 2,
        "test": 3,
    }
    facts = workspace.json("validate", "hippocampus.yaml")
    assert facts["reads"] == "slices of 48 x 64, 16 a step"
    assert "small_unet" in facts["presets"]
    text = (workspace.folder / "hippocampus.yaml").read_text()
    assert "# adjacent_slices: 1 shows the network the slices beside each, too\ndata:\n" in text
    (workspace.folder / "around.yaml").write_text(text.replace("data:\n", "data:\n  adjacent_slices: 2\n"))
    facts = workspace.json("validate", "around.yaml")
    assert facts["reads"] == "slices of 48 x 64, 16 a step, each with 2 slices on either side"
    assert "exists; remove it" in workspace.run("init", "raw", exits=2)


def test_a_search_ends_with_a_leaderboard_a_comparison_and_a_proved_export(finished: Any) -> None:
    told = finished.json("leaderboard", "demo")
    search = [row for row in told["trials"] if row["purpose"] == "search"]
    assert len(search) == 5
    assert [row["name"] for row in sorted(search, key=lambda row: row["trial"])[:2]] == [
        "small_deeplabv3plus",
        "small_unet",
    ]
    assert len({row["digest"] for row in search}) == 5
    values = [row["value"] for row in search if row["value"] is not None]
    assert values == sorted(values, reverse=True)
    result = told["result"]
    assert result["winner"]["cases"] == 3
    for entry in (result["winner"], result["preset"]):
        mean = entry["test"]["mean"]
        assert 0 <= mean["low"] <= mean["dice"] <= mean["high"] <= 1
    best = max((result["winner"], result["preset"]), key=lambda entry: entry["validation"])
    assert result["best"]["trial"] == best["trial"] and result["best"]["name"] == best["name"]
    for place in {result["winner"]["export"], result["best"]["export"]}:
        assert finished.json("verify", place)["recorded"]["dice"] > 0
    proof = json.loads((Path(result["winner"]["export"]) / "proof.json").read_text())
    assert proof["split"] == "validation"
    assert proof["measured"]["torch"]["dice"] == pytest.approx(proof["recorded"]["dice"], abs=1e-9)
    assert (finished.folder / "runs" / "demo" / "pictures" / "trial-00000.png").stat().st_size > 1000


def test_a_retraining_that_is_alone_takes_all_slots(finished: Any) -> None:
    journal = Journal(f"sqlite:///{finished.folder}/runs/journal.db")
    written = journal.read("demo")
    journal.close()
    [trial] = [e.body["trial"] for e in written if e.kind == "asked" and e.body["purpose"] == "retrain"]
    shares = {e.body["share"] for e in written if e.kind == "leg_started" and e.body["trial"] == trial}
    assert shares == {len(os.sched_getaffinity(0))}


def test_running_it_again_is_refused(finished: Any) -> None:
    assert "search 'demo' exists already" in finished.run("run", "demo.yaml", exits=2)


def test_going_on_with_a_finished_search_shows_its_result_and_trains_nothing(finished: Any) -> None:
    before = finished.json("leaderboard", "demo")
    place = Path(before["result"]["best"]["export"]).relative_to(finished.folder)
    assert f"exported and proved: {place}" in finished.run("run", "--resume", "demo.yaml")
    assert finished.json("leaderboard", "demo") == before


def test_status_and_list_agree(finished: Any) -> None:
    status = finished.json("status", "demo")
    assert (status["state"], status["trials"], status["ended"], status["finish"]) == (
        "finished",
        5,
        5,
        "trials",
    )
    assert finished.json("list") == [status]


def test_every_run_is_in_mlflow_with_its_curve_candidate_and_picture(finished: Any) -> None:
    with sqlite3.connect(finished.folder / "runs" / "mlflow.db") as database:
        names = {row[0] for row in database.execute("select name from runs")}
        count = "select count(*) from metrics where key = ?"
        losses, scores = (database.execute(count, (key,)).fetchone()[0] for key in ("loss", "dice"))
        unfinished = database.execute("select count(*) from runs where status = 'RUNNING'").fetchone()[0]
    database.close()
    told = finished.json("leaderboard", "demo")
    assert "search demo" in names
    assert len(names) == 1 + len(told["trials"])
    epochs = dict.fromkeys((True, False), 0)
    for row in told["trials"]:
        epochs[row["purpose"] == "search"] += row["epoch"]
    assert losses == sum(epochs.values())
    assert epochs[True] < scores <= losses  # of those that no rung judges, some
    assert unfinished == 0
    artifacts = list((finished.folder / "runs" / "mlartifacts").rglob("*"))
    assert sum(path.name == "candidate.json" for path in artifacts) == len(told["trials"])
    assert sum(path.name == "predictions.png" for path in artifacts) == len(told["trials"])
    assert sum(path.name == "network.svg" for path in artifacts) == 1  # of the network that is handed over


def test_verify_and_predict_with_the_export(finished: Any, tmp_path: Path) -> None:
    export = Path(finished.json("leaderboard", "demo")["result"]["winner"]["export"])
    assert "dice: recorded" in finished.run("verify", str(export))
    volume = next(iter(sorted((finished.folder / "raw" / "imagesTr").iterdir())))
    predicted = finished.json("predict", str(export), str(volume), "--out", str(tmp_path / "out"))
    labels = nib.nifti1.Nifti1Image.from_filename(predicted[0]["labels"])
    image = nib.nifti1.Nifti1Image.from_filename(volume)
    assert labels.shape == image.shape
    assert np.array_equal(labels.affine, image.affine)
    assert set(np.unique(np.asarray(labels.dataobj))) <= {0, 1, 2}
    assert Path(predicted[0]["overlay"]).stat().st_size > 500


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "candidate.json", "model.onnx", "model_card.md", "network.svg", "proof.json"],
)
def test_an_altered_export_is_refused(finished: Any, tmp_path: Path, name: str) -> None:
    from orchestrator.cli.main import run

    whole = Path(finished.json("leaderboard", "demo")["result"]["winner"]["export"])
    altered = tmp_path / "altered"
    shutil.copytree(whole, altered)
    data = bytearray((altered / name).read_bytes())
    data[len(data) // 2] ^= 1
    (altered / name).write_bytes(bytes(data))
    assert run(["verify", str(altered)]) == 1
    volume = next(iter(sorted((finished.folder / "raw" / "imagesTr").iterdir())))
    assert run(["predict", str(altered), str(volume), "--out", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()
