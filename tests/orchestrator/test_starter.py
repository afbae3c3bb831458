"""A first job file: what it says is what a user can type."""

import shlex
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.job import load_job
from orchestrator.starter import batch_size, job_name, write_starter, yaml_text
from orchestrator.yaml_document import parse_document


@pytest.mark.parametrize("name", ["photos", "My Photos (2): left #1", "Übersicht 'a'"])
def test_a_folder_of_any_name_gives_a_job_that_loads_and_commands_that_a_shell_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("images", "masks"):
        (tmp_path / name / place).mkdir(parents=True)
        Image.new("L", (40, 40)).save(tmp_path / name / place / "a.png")
    starter = write_starter(Path(name))
    job = load_job(starter.job)
    assert job.raw == name and job.dataset == f"data/{job.name}"
    ingest, run = map(shlex.split, starter.commands)
    assert ingest == ["segsearch", "data", "ingest", name, job.dataset]
    assert run == ["segsearch", "run", str(starter.job)]


@pytest.mark.parametrize("text", ["a/b-c.d", "true", "1e3", "a: b", "#x", "~", "", '"', "é"])
def test_text_comes_back_from_yaml(text: str) -> None:
    assert parse_document(f"key: {yaml_text(text)}\n", "x").value == {"key": text}


@pytest.mark.parametrize(
    ("text", "name"), [("My Photos (2)", "my-photos-2"), ("2024 scans", "data-2024-scans"), ("数据", "data")]
)
def test_names_that_a_job_may_have(text: str, name: str) -> None:
    assert job_name(text) == name


@pytest.mark.parametrize(
    ("size", "samples", "batch"),
    [
        ((64, 64), None, 16),
        ((256, 64), None, 8),
        ((64, 64), 12, 8),
        ((64, 64), 1, 1),
        ((64, 64), 0, 1),
        ((64, 64), 99, 16),
    ],
)
def test_a_batch_is_no_larger_than_an_epoch(size: tuple[int, int], samples: int | None, batch: int) -> None:
    assert batch_size(size, samples) == batch
