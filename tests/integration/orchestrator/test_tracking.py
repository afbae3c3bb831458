"""Publishing to a real MLflow server: down and back, twice the same, and while a run goes on."""

import contextlib
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from orchestrator.driver import Driver
from orchestrator.engine import events
from orchestrator.journal import Cursor, Journal
from orchestrator.tracking import CONSUMER, Publisher, backlog
from orchestrator.ui import SETTINGS, command
from workers.contract import EpochResult, LegResult


class Server:
    """An MLflow server that can be stopped and started on one port."""

    def __init__(self, folder: Path) -> None:
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri, self.folder = f"http://127.0.0.1:{self.port}", folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        line = command(str(self.folder), f"sqlite:///{self.folder}/server.db", self.port)
        self.process = subprocess.Popen(
            line, env={**os.environ, **SETTINGS}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                return
            time.sleep(0.2)
        raise AssertionError("the MLflow server does not answer")

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    server = Server(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(f"sqlite:///{tmp_path}/journal.db")
    job: dict[str, Any] = {
        "dataset": "data",
        "space": "compact",
        "storage": str(tmp_path),
        "objectives": {"maximize": ["dice"]},
        "search": {"sampler": "tpe", "scheduler": {"kind": "asha"}},
    }
    journal.create("night", [events.opened(job, "d" * 64, protocol={}, versions={}, seed=0)])
    yield journal
    journal.close()


def trial(number: int, epochs: int, *, ended: bool) -> list[events.Draft]:
    """Events of one trial."""
    drafts = [
        events.asked(
            number,
            {"kind": "demo", "width": 8 + number},
            name=f"trial {number}",
            digest=f"{number:032x}",
            trace={},
            seed=0,
            source="sampler",
            purpose="search",
            to_epoch=epochs,
            max_epochs=epochs,
            profile={"parameters": 1000.0},
            share=1.0,
            parent={"trial": 0, "epoch": 3, "checkpoint": "c"} if number else None,
        ),
        events.leg_started(
            number,
            number + 1,
            first_epoch=0,
            last_epoch=epochs,
            checkpoint=None,
            micro_batches=1,
            share=1.0,
        ),
    ]
    for epoch in range(1, epochs + 1):
        metrics = {"dice": 0.1 * epoch, "dice/left part": 0.05 * epoch}
        result = EpochResult(
            "night", number, number + 1, epoch, 1.0 / epoch, metrics, 1.0, 0.9, 1.7e9 + epoch, "c"
        )
        drafts.append(events.epoch(result))
    if ended:
        drafts.append(
            events.leg_ended(LegResult("night", number, number + 1, "completed", epochs, 2.0, 1.7e9))
        )
        drafts.append(events.trial_ended(number, "completed", value=0.1 * epochs, epoch=epochs))
    return drafts


def runs_of(server: Server) -> dict[str, Any]:
    """Runs of the experiment by name."""
    client = MlflowClient(tracking_uri=server.uri)
    experiment = client.get_experiment_by_name("segsearch/night")
    assert experiment is not None
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def test_mlflow_down_and_back(journal: Journal, server: Server) -> None:
    leadership = journal.lead("night", Driver.current())
    journal.append(leadership, trial(0, 3, ended=True))
    publisher = Publisher(journal, "night", server.uri)
    with pytest.raises(Exception, match=r"refused|Max retries|exceeded"):
        publisher.publish()
    assert backlog(journal, "night") == 1 + 7
    server.start()
    assert publisher.publish() == 8
    assert backlog(journal, "night") == 0
    journal.append(leadership, trial(1, 2, ended=False))
    server.stop()
    with pytest.raises(Exception, match=r"refused|Max retries|exceeded"):
        publisher.publish()
    server.start()
    assert publisher.publish() == 4
    runs = runs_of(server)
    assert set(runs) == {"search night", "000 trial 0", "001 trial 1"}
    assert runs["000 trial 0"].info.status == "FINISHED"
    assert runs["001 trial 1"].info.status == "RUNNING"
    assert runs["000 trial 0"].data.metrics["dice"] == pytest.approx(0.3)
    assert runs["000 trial 0"].data.params["width"] == "8"
    assert "parent" not in runs["000 trial 0"].data.params
    assert runs["001 trial 1"].data.params["parent"] == "0"


def test_publishing_all_again_changes_nothing(journal: Journal, server: Server) -> None:
    leadership = journal.lead("night", Driver.current())
    journal.append(
        leadership, [*trial(0, 3, ended=True), *trial(1, 2, ended=True), events.finished("trials")]
    )
    server.start()
    publisher = Publisher(journal, "night", server.uri)
    publisher.publish()
    journal.move("night", CONSUMER, Cursor())  # as if the cursor had never been written
    publisher.publish()
    runs = runs_of(server)
    assert set(runs) == {"search night", "000 trial 0", "001 trial 1"}
    client = MlflowClient(tracking_uri=server.uri)
    history = client.get_metric_history(runs["000 trial 0"].info.run_id, "dice")
    assert [(point.step, point.timestamp) for point in history] == [
        (e, (1_700_000_000 + e) * 1000) for e in (1, 2, 3)
    ]
    assert runs["search night"].info.status == "FINISHED"


def test_a_training_that_was_taken_over_is_published_with_its_epochs(
    journal: Journal, server: Server
) -> None:
    leadership = journal.lead("night", Driver.current())
    asked, _, *epochs = trial(0, 3, ended=False)
    bodies = [
        {k: v for k, v in draft.body.items() if k not in ("trial", "fence", "checkpoint")} for draft in epochs
    ]
    taken = events.reused(0, search="evening", source=7, epochs=bodies, checkpoint=None)
    ended = events.trial_ended(0, "completed", value=0.3, epoch=3, message="reused: trial 7 of evening")
    note = events.noted("evidence", {"sources": [{"search": "evening", "kept": 1}]})
    journal.append(leadership, [note, asked, taken, ended])
    server.start()
    Publisher(journal, "night", server.uri).publish()
    runs = runs_of(server)
    history = MlflowClient(tracking_uri=server.uri).get_metric_history(
        runs["000 trial 0"].info.run_id, "dice"
    )
    assert [(point.step, point.value) for point in history] == [
        (e, pytest.approx(0.1 * e)) for e in (1, 2, 3)
    ]
    assert runs["000 trial 0"].info.status == "FINISHED"
    assert runs["000 trial 0"].data.tags["mlflow.note.content"] == "reused: trial 7 of evening"
    assert runs["search night"].data.metrics["best_dice"] == pytest.approx(0.3)
