"""kill -9 of a driver, then resume: nothing lost, nothing twice, and with one slot the very same numbers."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from killed_drivers import count_epochs, epochs_of, events_of, kill_after

from orchestrator.audit import faults
from orchestrator.engine.events import Event


def check_whole(written: list[Event], *, trials: int) -> None:
    """Every trial once, with one verdict, its epochs 1..n without gap or repetition."""
    asked = [e.body for e in written if e.kind == "asked" and e.body["purpose"] == "search"]
    assert len(asked) == trials
    assert len({body["digest"] for body in asked}) == trials
    for number in {e.body["trial"] for e in written if e.kind == "asked"}:
        assert sum(e.kind == "trial_ended" and e.body["trial"] == number for e in written) == 1
        epochs = [e.body["epoch"] for e in written if e.kind == "epoch" and e.body["trial"] == number]
        assert epochs == list(range(1, len(epochs) + 1))


def test_one_slot_repeats_a_search_across_kills(workspace: Any) -> None:
    options = ("--in-process", "--no-tracking")
    workspace.run("run", str(workspace.job("whole", trials=4, top=0)), *options)
    for round_, epochs in enumerate((1, 4)):
        name = "killed"
        verb = ("run", str(workspace.job(name, trials=4, top=0))) if round_ == 0 else ("resume", name)
        kill_after(workspace, name, workspace.start(*verb, *options), epochs=epochs)
    workspace.run("resume", "killed", *options)
    whole, killed = events_of(workspace, "whole"), events_of(workspace, "killed")
    check_whole(killed, trials=4)
    assert sum(e.kind == "leading" for e in killed) == 3
    assert epochs_of(killed) == epochs_of(whole)
    assert workspace.decided_again("killed") > workspace.decided_again(
        "whole"
    )  # legs that were handed out again
    left, right = (
        sorted((workspace.folder / "runs" / name / "checkpoints").glob("*/*/*/*"))
        for name in ("killed", "whole")
    )
    assert len(left) == len(right) == 4 * 3  # the three files of one a trial, wherever the kills hit


def test_a_killed_driver_on_ray_is_resumed_and_leaves_no_process(workspace: Any) -> None:
    job = workspace.job("rayed", trials=4, top=0)
    kill_after(workspace, "rayed", workspace.start("run", str(job)), epochs=2)
    reported = len([e for e in events_of(workspace, "rayed") if e.kind == "epoch"])
    workspace.run("resume", "rayed")
    written = events_of(workspace, "rayed")
    check_whole(written, trials=4)
    assert len([e for e in written if e.kind == "epoch"]) > reported
    assert workspace.json("status", "rayed")["state"] == "finished"
    assert workspace.decided_again("rayed") > 0
    end = time.monotonic() + 150  # Ray's two agents look for their dead cluster for about a minute
    while _processes_in(workspace.folder) and time.monotonic() < end:
        time.sleep(1)
    assert _processes_in(workspace.folder) == []


def test_a_second_driver_is_refused_and_a_stop_request_ends_the_first(workspace: Any) -> None:
    job = workspace.job("long", trials=40, top=0)
    first = workspace.start("run", str(job), "--in-process", "--no-tracking")
    database = workspace.folder / "runs" / "journal.db"
    while not (database.exists() and count_epochs(database, "long") >= 1):
        assert first.poll() is None
        time.sleep(0.05)
    refused = workspace.run("resume", "long", "--in-process", "--no-tracking", exits=2)
    assert f"is led by process {first.pid}" in refused
    assert "asked long to stop" in workspace.run("stop", "long")
    out, err = first.communicate(timeout=120)
    assert first.returncode == 0, out + err
    assert workspace.json("status", "long")["finish"] == "stop_requested"


def test_a_paused_search_goes_on_and_a_cancelled_one_is_over(workspace: Any) -> None:
    options = ("--in-process", "--no-tracking")
    job = workspace.job("halted", trials=40, top=0)
    database = workspace.folder / "runs" / "journal.db"

    def until_epochs(process: subprocess.Popen[str], count: int) -> None:
        while not (database.exists() and count_epochs(database, "halted") >= count):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)

    first = workspace.start("run", str(job), *options)
    until_epochs(first, 1)
    assert "asked halted to pause" in workspace.run("pause", "halted")
    out, err = first.communicate(timeout=120)
    assert first.returncode == 0, out + err
    assert "paused by" in out and workspace.json("status", "halted")["state"] == "paused"
    assert "there is nothing to pause" in workspace.run("pause", "halted")
    paused_at = count_epochs(database, "halted")

    second = workspace.start("resume", "halted", *options)
    until_epochs(second, paused_at + 1)
    assert "asked halted to cancel; it ends at once." in workspace.run("cancel", "halted")
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, out + err
    status = workspace.json("status", "halted")
    assert (status["state"], status["finish"]) == ("finished", "stop_requested")
    written = events_of(workspace, "halted")
    assert faults(written, files=False) == []
    assert workspace.decided_again("halted") > 0


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_says_how_to_go_on(workspace: Any, sent: signal.Signals) -> None:
    process = workspace.start("run", str(workspace.job("broken", trials=9)), "--in-process", "--no-tracking")
    database = workspace.folder / "runs" / "journal.db"
    while not (database.exists() and count_epochs(database, "broken") >= 1):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "segsearch resume" in err
    assert "Traceback" not in err


def _processes_in(folder: Path) -> list[str]:
    """Command lines of processes whose home is this folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            environment = (process / "environ").read_bytes()
            if f"HOME={folder}".encode() in environment.split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (OSError, ValueError):
            continue
    return found
