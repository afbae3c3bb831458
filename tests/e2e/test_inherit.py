"""A search whose children begin with the weights of their parents: killed and resumed, and without a checkpoint."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from killed_drivers import epochs_of, events_of, kill_after

from orchestrator.audit import faults
from orchestrator.engine.events import Event
from orchestrator.engine.leaderboard import leaderboard
from orchestrator.reading import state_of
from workers.contract import INHERITED

OPTIONS = ("--in-process", "--no-tracking")
TRIALS = 12  # an evolution has its first children after ten scored trials


def heirs_job(workspace: Any, name: str) -> str:
    """A job that inherits, an epoch a trial."""
    path: Path = workspace.job(name, trials=TRIALS, top=0, sampler="evolution")
    text = path.read_text().replace("max_epochs: 4, min_epochs: 1, reduction: 2", "max_epochs: 1")
    path.write_text(text.replace("seed: 3", "seed: 3, inherit: true"))
    return str(path)


def shares(written: list[Event]) -> dict[int, float]:
    """What each trial that had to inherit did inherit."""
    epochs = (e.body for e in written if e.kind == "epoch" and INHERITED in e.body["metrics"])
    return {body["trial"]: body["metrics"][INHERITED] for body in epochs}


def parents_shown(written: list[Event]) -> dict[int, int]:
    """Parents as the leaderboard shows them."""
    return {row.trial: row.parent for row in leaderboard(state_of(written)) if row.parent is not None}


def test_heirs_are_the_same_across_a_kill(workspace: Any) -> None:
    workspace.run("run", heirs_job(workspace, "whole"), *OPTIONS)
    whole = events_of(workspace, "whole")
    asked = {e.body["trial"]: e.body["parent"] for e in whole if e.kind == "asked" and e.body["parent"]}
    assert asked.keys() == shares(whole).keys() and max(shares(whole).values()) > 0.1
    assert parents_shown(whole) == {n: asked[n]["trial"] for n, share in shares(whole).items() if share}
    assert faults(whole) == []
    process = workspace.start("run", heirs_job(workspace, "killed"), *OPTIONS)
    kill_after(workspace, "killed", process, epochs=min(asked))  # its first child begins, or is about to
    workspace.run("resume", "killed", *OPTIONS)
    assert epochs_of(events_of(workspace, "killed")) == epochs_of(whole)
    assert workspace.decided_again("killed") > 0


@pytest.mark.slow
def test_a_lost_checkpoint_costs_the_inheritance_and_not_the_trial(workspace: Any) -> None:
    process = workspace.start("run", heirs_job(workspace, "lost"), *OPTIONS)
    kill_after(workspace, "lost", process, epochs=TRIALS - 2)
    shutil.rmtree(workspace.folder / "runs" / "lost" / "checkpoints")
    workspace.run("resume", "lost", *OPTIONS)
    lost = events_of(workspace, "lost")
    alone = next(trial for trial, share in shares(lost).items() if not share)
    [ended] = [
        e.body
        for e in lost
        if e.kind == "leg_ended" and (e.body["trial"], e.body["status"]) == (alone, "completed")
    ]
    assert "those of its parent cannot be read" in ended["message"]
    assert alone not in parents_shown(lost)
