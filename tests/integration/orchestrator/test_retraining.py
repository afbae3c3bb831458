"""Retraining scores some of its epochs; a wall time holds what finding out its length takes, too."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import winners
from orchestrator.engine.engine import Engine
from orchestrator.engine.events import Event
from orchestrator.journal import Journal
from orchestrator.lead import Place
from orchestrator.reading import epoch_bodies
from orchestrator.verbs import export_trial, resume, run
from workers.data.ingest import ingest

JOB = """\
name: tiny
dataset: {folder}/data
data: {{size: [16, 16], batch: 4, epoch_samples: 8}}
search: {{scheduler: {{kind: none, max_epochs: 1}}}}
budget: {{trials: 1}}
retrain: {{top: 1, seeds: 1, epochs: 6, scoring_share: 1.0e-9, against: small_unet}}
storage: {folder}/runs
"""


@pytest.fixture
def job(red_pictures: Path, tmp_path: Path) -> Path:
    ingest(red_pictures, str(tmp_path / "data"))
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(folder=tmp_path))
    return job


def scored(folder: Path, purpose: str) -> list[list[int]]:
    """Epochs of each trial of a purpose that have scores."""
    written = Journal(f"sqlite:///{folder}/runs/journal.db").read("tiny")
    asked = {e.body["trial"]: e.body for e in written if e.kind == "asked"}
    return [
        [body["epoch"] for body in bodies if "dice" in body["metrics"]]
        for trial, bodies in epoch_bodies(written).items()
        if asked[trial]["purpose"] == purpose
    ]


def test_trainings_that_no_rung_judges_are_scored_at_their_ends(job: Path) -> None:
    result = run(job, place=Place(in_process=True, track=False))
    assert scored(job.parent, "search") == [[1]]
    assert scored(job.parent, "retrain") == [[1, 6]]
    probe, baseline = scored(job.parent, "baseline")
    assert probe == [1, 2] and baseline == sorted({1, result["preset"]["epochs"]})
    assert result["winner"]["validation"] is not None and result["winner"]["epochs"] == 6


def test_a_known_network_is_compared_that_is_trained_as_long_as_its_probe(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def so_long_that_two_fit(session: Any, probe: int) -> float:
        left: float = session.cost("search") + session.cost("retrain") - winners._spent(session, probe)
        return left / session.plan.slots.whole / (winners.PROBE_EPOCHS + 0.5)

    monkeypatch.setattr(winners, "_epoch_s", so_long_that_two_fit)
    result = run(job, place=Place(in_process=True, track=False))
    assert (result["preset"]["name"], result["preset"]["epochs"]) == ("small_unet", winners.PROBE_EPOCHS)


def test_a_network_of_an_epoch_that_was_not_scored_is_exported_with_a_score(job: Path) -> None:
    def die(event: Event | None, engine: Engine) -> None:
        if event is not None and event.kind == "epoch" and event.body["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(job, place=Place(in_process=True, track=False, watch=die))
    assert scored(job.parent, "retrain") == [[1]]
    storage = str(job.parent / "runs")
    place = export_trial("tiny", trial=1, storage=storage, out=str(job.parent / "best"))
    proof = json.loads((Path(place) / "proof.json").read_text())
    assert 0 <= proof["recorded"]["dice"] <= 1
    resume("tiny", storage=storage, place=Place(in_process=True, track=False))
    assert scored(job.parent, "retrain") == [[1, 4, 6]]  # the first of each leg, and the last
