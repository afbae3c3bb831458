"""Fork and warm start as a user does them: what is kept, what is not trained twice, and what is refused."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.audit import faults
from orchestrator.engine.events import Event
from orchestrator.journal import Journal

Cli = Callable[..., tuple[int, str, str]]
OPTIONS = ("--in-process", "--no-tracking")


def events_of(workspace: Any, name: str) -> list[Event]:
    """The journal of a search."""
    journal = Journal(f"sqlite:///{workspace.folder}/runs/journal.db")
    try:
        return journal.read(name)
    finally:
        journal.close()


def change(job: Path, old: str, new: str) -> Path:
    text = job.read_text()
    assert old in text
    job.write_text(text.replace(old, new, 1))
    return job


def small(job: Path) -> Path:
    """A job of short trainings."""
    return change(change(job, "epoch_samples: 32", "epoch_samples: 16"), "max_epochs: 4", "max_epochs: 2")


def test_a_narrowed_fork_keeps_reuses_retrains_and_exports(finished: Any, workspace: Any) -> None:
    """``demo`` ran on Ray; the fork narrows its space and trains nothing of it again."""
    shutil.copytree(
        finished.folder / "runs", workspace.folder / "runs"
    )  # other tests count what is in that one
    demo = events_of(workspace, "demo")
    job = change(
        workspace.job("narrower", trials=4),
        "architecture.encoder.width: [8, 16]",
        "architecture.encoder.width: 16",
    )
    change(job, "seed: 3", "seed: 3, reuse: true")
    out = workspace.run("fork", "demo", "--with", str(job))
    written = events_of(workspace, "narrower")
    pieces = [e.body for e in written if e.kind == "evidence"]
    trials = [e.body for e in demo if e.kind == "asked" and e.body["purpose"] == "search"]
    inside = [t["trial"] for t in trials if t["candidate"]["architecture"]["encoder"]["width"] == 16]
    assert [p["trial"] for p in pieces] == inside
    kept = f"{len(inside)} trial" + "s" * (len(inside) != 1)
    assert f"evidence of demo: {kept} kept; {len(trials) - len(inside)} outside the new space" in out
    done = {
        e.body["trial"] for e in demo if e.kind == "trial_ended" and e.body["verdict"] == "completed"
    } & set(inside)
    reused = {e.body["source"]: e.body for e in written if e.kind == "reused"}
    assert done and set(reused) == done
    legs = {e.body["trial"] for e in written if e.kind == "leg_started"}
    for source, body in reused.items():
        assert body["trial"] not in legs
        old = [e.body for e in demo if e.kind == "epoch" and e.body["trial"] == source]
        assert [e["metrics"] for e in body["epochs"]] == [e["metrics"] for e in old]
        assert body["checkpoint"] == old[-1]["checkpoint"]
    assert faults(written) == []
    assert events_of(workspace, "demo") == demo
    number = next(iter(reused.values()))["trial"]
    place = workspace.json("export", "narrower", "--trial", str(number), "--out", "taken-over")["export"]
    workspace.run("verify", place)
    rows = workspace.json("leaderboard", "narrower")["trials"]
    [row] = [row for row in rows if row["trial"] == number]
    assert row["status"] == "completed" and row["worker_seconds"] == 0
    assert workspace.decided_again("narrower") > 0 and workspace.decided_again("demo") > 0


def test_a_fork_killed_at_its_beginning_is_resumed_with_the_same_evidence_once(workspace: Any) -> None:
    workspace.run("run", str(small(workspace.job("old", trials=3, top=0))), *OPTIONS)
    job = small(workspace.job("new", trials=4, top=0))
    process = workspace.start("fork", "old", "--with", str(job), *OPTIONS)
    journal = Journal(f"sqlite:///{workspace.folder}/runs/journal.db")
    while "new" not in journal.names():  # from here on the evidence is there
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = [(e.seq, e.body) for e in journal.read("new") if e.kind == "evidence"]
    assert [body["trial"] for _, body in before] == [0, 1, 2]
    workspace.run("resume", "new", *OPTIONS)
    written = journal.read("new")
    journal.close()
    assert [(e.seq, e.body) for e in written if e.kind == "evidence"] == before
    assert sum(e.kind == "asked" for e in written) == 4
    assert faults(written) == []


def test_what_cannot_be_forked_changes_nothing(inside: Any, cli: Cli) -> None:
    old = small(inside.job("old", trials=1, top=0))
    assert cli("run", str(old), *OPTIONS)[0] == 0
    journal = Journal(f"sqlite:///{inside.folder}/runs/journal.db")

    def refused(name: str, job: Path) -> str:
        code, out, err = cli("fork", name, "--with", str(job), *OPTIONS)
        assert (code, out) == (2, "")
        assert journal.names() == ("old",)
        return err

    assert "unknown search 'odl'; did you mean 'old'?" in refused("odl", inside.job("new"))
    assert "search 'old' exists already" in refused("old", inside.job("old"))
    stages = "architecture.encoder.stages: [3, 4]"
    assert "stagees" in refused("old", change(inside.job("new"), stages, "architecture.encoder.stagees: 3"))
    apart = f"{stages}, loss.terms.0.term.kind: focal, loss.terms.0.term.smoothing: 0.05"
    assert "no candidate that meets the other fixes has" in refused(
        "old", change(inside.job("new"), stages, apart)
    )
    other = change(inside.job("new"), "dataset: data/small", "dataset: data/other")
    source = inside.folder / "raw-other"
    shutil.copytree(inside.folder / "raw", source)
    (source / "splits.json").unlink()
    assert cli("data", "ingest", str(source), "data/other")[0] == 0
    err = refused("old", other)
    assert "search 'old' is on data" in err and "cannot be forked" in err and err.count("error:") == 1
    reuse = change(inside.job("new"), "seed: 3", "seed: 3, reuse: true")
    assert "search.reuse: there is nothing to reuse" in cli("run", str(reuse), *OPTIONS)[2]
    longer = change(inside.job("new"), "seed: 3", "seed: 3, reuse: true")
    assert "search.reuse: 'old' ran on other data or under another protocol" in refused("old", longer)
    unknown = change(inside.job("new"), "seed: 3", "seed: 3, warm_start: [nobody]")
    assert "unknown search 'nobody'" in cli("run", str(unknown), *OPTIONS)[2]
    twice = change(inside.job("new"), "seed: 3", "seed: 3, warm_start: [old, old]")
    assert "search.warm_start: 'old' is named twice; keep one." in cli("validate", str(twice))[2]
    known = change(small(inside.job("new")), "seed: 3", "seed: 3, warm_start: [old]")
    code, out, _ = cli("validate", str(known), "--json")
    assert code == 0 and "evidence of old: 1 trial kept; 0 outside the new space" in out
    assert journal.names() == ("old",)
    journal.close()


def test_a_warm_start_on_other_samples_tries_the_best_first(workspace: Any) -> None:
    workspace.run("run", str(small(workspace.job("old", trials=3, top=0))), *OPTIONS)
    job = change(small(workspace.job("new", trials=4, top=0)), "batch: 8", "batch: 16")
    change(job, "seed: 3", "seed: 4, presets: false, warm_start: [old]")
    out = workspace.run("run", str(job), *OPTIONS)
    assert "of which only the order counts here" in out
    ranked = [row["digest"] for row in workspace.json("leaderboard", "old")["trials"]]
    asked = [e.body for e in events_of(workspace, "new") if e.kind == "asked"]
    assert [body["digest"] for body in asked[:3]] == ranked
    assert [body["source"] for body in asked] == ["evidence"] * 3 + ["sampler"]
    assert {e.body["relation"] for e in events_of(workspace, "new") if e.kind == "evidence"} == {"transfer"}
    assert workspace.decided_again("new") > 0
