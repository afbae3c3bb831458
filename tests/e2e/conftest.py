"""A folder as a user has it: a few real volumes, ingested, with a small job; and the command line on it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from beside import heed_interrupts

from orchestrator.cli.main import run as run_command

JOB = """\
name: {name}
dataset: data/small
raw: raw
data: {{size: [64, 64], batch: 8, epoch_samples: 32}}
space: compact
fix: {{architecture.encoder.width: [8, 16], architecture.encoder.stages: [3, 4], recipe.optimiser: adamw}}
constraints: {{parameters: 2.0e6, macs: 6.0e7}}
search: {{sampler: {sampler}, scheduler: {{kind: asha, max_epochs: 4, min_epochs: 1, reduction: 2}}, seed: 3}}
budget: {{trials: {trials}}}
retrain: {{top: {top}, epochs: 3, seeds: 1, against: small_unet}}
"""


@dataclass
class Workspace:
    """A folder and the environment of its commands."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def job(self, name: str, *, trials: int = 4, top: int = 1, sampler: str = "tpe", extra: str = "") -> Path:
        """Write a small job."""
        path = self.folder / f"{name}.yaml"
        path.write_text(JOB.format(name=name, trials=trials, top=top, sampler=sampler) + extra)
        return path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in a process of its own."""
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("SEGSEARCH_J", "MLFLOW_", "RAY_"))
        }
        environment |= {
            "HOME": str(self.folder),
            "SEGSEARCH_CACHE": str(self.folder / "cache"),
            **self.environment,
        }
        command = [sys.executable, "-m", "orchestrator.cli.main", *arguments]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            preexec_fn=heed_interrupts,
        )

    def run(self, *arguments: str, exits: int = 0, timeout_s: float = 400) -> str:
        """Run a command in a process of its own; its standard output, or standard error where it must fail."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=timeout_s)
        assert process.returncode == exits, f"exit {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in out + err
        return out if exits == 0 else err

    def json(self, *arguments: str) -> Any:
        """Run a command with ``--json``; what it printed."""
        return json.loads(self.run(*arguments, "--json"))

    def decided_again(self, name: str) -> int:
        """Events of a search that its journal decides again, all of them."""
        told = self.json("audit", name, "--decisions")
        assert told["faults"] == [] and told["decisions"]["difference"] is None, told
        same = sum(told["decisions"]["same"].values())
        assert same == told["decisions"]["decisions"] and told["decisions"]["untold"] == 0
        return int(same)


@pytest.fixture
def workspace(tmp_path: Path, small_raw: Path, small_dataset: Path) -> Workspace:
    """A fresh folder with raw files and data set."""
    return make_workspace(tmp_path, small_raw, small_dataset)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, small_raw: Path, small_dataset: Path) -> Workspace:
    """A folder in which the search ``demo`` ran to its end on a local Ray, two trials side by side."""
    space = make_workspace(tmp_path_factory.mktemp("finished"), small_raw, small_dataset)
    space.run("run", str(space.job("demo", trials=5)))
    return space


def make_workspace(folder: Path, raw: Path, dataset: Path) -> Workspace:
    """A folder with links to raw files and data set."""
    (folder / "data").mkdir()
    (folder / "raw").symlink_to(raw)
    (folder / "data" / "small").symlink_to(dataset)
    return Workspace(folder)


@pytest.fixture
def inside(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """This process stands in a fresh folder, for commands that need no process of their own."""
    monkeypatch.chdir(workspace.folder)
    monkeypatch.delenv("SEGSEARCH_JOURNAL", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield workspace


@pytest.fixture
def cli(inside: Workspace, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: exit code, standard output, standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run_command(list(arguments))
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call
