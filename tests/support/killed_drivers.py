"""Drivers that are killed, and what their journals hold afterwards."""

import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

from orchestrator.engine.events import Event
from orchestrator.journal import Journal


def events_of(workspace: Any, name: str) -> list[Event]:
    """The journal of a search."""
    journal = Journal(f"sqlite:///{workspace.folder}/runs/journal.db")
    try:
        return journal.read(name)
    finally:
        journal.close()


def epochs_of(written: list[Event]) -> list[tuple[Any, ...]]:
    """Trial, epoch, loss and metrics of every epoch, in order of trial and epoch."""
    return sorted(
        (e.body["trial"], e.body["epoch"], e.body["loss"], tuple(sorted(e.body["metrics"].items())))
        for e in written
        if e.kind == "epoch"
    )


def kill_after(workspace: Any, name: str, process: subprocess.Popen[str], *, epochs: int) -> None:
    """Kill a driver once its journal holds so many epochs."""
    database = workspace.folder / "runs" / "journal.db"
    end = time.monotonic() + 300
    while time.monotonic() < end and process.poll() is None:
        if database.exists() and count_epochs(database, name) >= epochs:
            break
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def count_epochs(database: Path, name: str) -> int:
    """Epochs that the journal of a search holds."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        query = "select count(*) from events where search = ? and kind = 'epoch'"
        return int(connection.execute(query, (name,)).fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # the table is not there yet
    finally:
        connection.close()
