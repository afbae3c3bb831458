"""MLflow is down while a search runs: the search does not care, and everything arrives later."""

import contextlib
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from orchestrator.ui import SETTINGS, command, wait_until_up


def test_a_search_ends_without_mlflow_and_is_published_later(workspace: Any, tmp_path: Path) -> None:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    workspace.environment = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    process = workspace.start("run", str(workspace.job("dark", trials=2, top=0)), "--in-process")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert "events behind; 'segsearch ui' publishes them" in err
    epochs = sum(row["epoch"] for row in workspace.json("leaderboard", "dark")["trials"])
    line = command(str(tmp_path), f"sqlite:///{tmp_path}/server.db", port)
    server = subprocess.Popen(
        line, env={**os.environ, **SETTINGS}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until_up(uri, server)
        said = workspace.run("ui")
        assert "events of dark" in said
        assert f"MLflow runs at {uri}" in said
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name("segsearch/dark")
        runs = client.search_runs([experiment.experiment_id])
        assert {run.info.run_name for run in runs} == {
            "search dark",
            "000 small_deeplabv3plus",
            "001 small_unet",
        }
        assert sum(len(client.get_metric_history(run.info.run_id, "dice")) for run in runs) == epochs
        assert all(run.info.status == "FINISHED" for run in runs)
    finally:
        server.terminate()
        server.wait(30)
