"""``segsearch data`` as a user types it."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.cli.main import run as run_command


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number in range(12):
        for place, value in (("images", number), ("masks", number % 2)):
            (tmp_path / "raw" / place).mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), value).save(tmp_path / "raw" / place / f"{number:02d}.png")
    return tmp_path / "raw"


def test_bad_cases_are_named_where_they_are_left_out(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "images/03.png").write_bytes(b"")
    assert run_command(["data", "ingest", "raw", "set"]) == 2
    assert "1 problem; nothing was written to set" in capsys.readouterr().err
    assert run_command(["data", "ingest", "raw", "set", "--skip-bad", "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert "note: left out as bad: 1 cases or files: 03" in out
    assert "left out: 03: images/03.png: not a PNG, JPEG or TIFF picture" in out
    assert run_command(["data", "ingest", "raw", "set", "--skip-bad", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["skipped"]) == ["03"]


def test_profiles(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["data", "ingest", "raw", "set", "--profile", "decoded", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["profile"] == "decoded"
    assert run_command(["data", "ingest", "raw", "set", "--profile", "plain"]) == 2
    assert "allowed are encoded and decoded" in capsys.readouterr().err


def test_copy_export_verify_and_collect(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["data", "ingest", "raw", "set"]) == 0
    assert run_command(["data", "copy", "set", "copy"]) == 0
    assert "3 shards copied to copy, 0 were there" in capsys.readouterr().out
    assert run_command(["data", "verify", "copy", "--sample", "0.3"]) == 0
    assert "in 1 shards" in (out := capsys.readouterr().out) and "33% of the shards" in out
    assert run_command(["data", "export", "copy", "files", "--parquet", "set.parquet"]) == 0
    assert "12 cases in files; an ingest of them gives the same digest" in capsys.readouterr().out
    assert run_command(["data", "export", "copy"]) == 2
    assert "give a new folder, or --parquet FILE" in capsys.readouterr().err
    Path("copy/objects/left.arrow").write_bytes(b"x" * 9)
    assert run_command(["data", "gc", "copy", "--older-than", "24"]) == 2
    assert "expected a time such as" in capsys.readouterr().err
    assert run_command(["data", "gc", "copy"]) == 0
    assert "0 objects, 0 bytes, to remove; 1 are younger than 24h; 1 contents stay" in capsys.readouterr().out
    os.utime("copy/objects/left.arrow", (0, 0))
    assert run_command(["data", "gc", "copy"]) == 0
    assert "objects/left.arrow" in capsys.readouterr().out and Path("copy/objects/left.arrow").exists()
    assert run_command(["data", "gc", "copy", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] and not Path("copy/objects/left.arrow").exists()
    assert run_command(["data", "verify", "copy"]) == 0


def test_only_a_search_is_told_to_be_resumed(
    pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("workers.data.ingest.ingest", interrupt)
    assert run_command(["data", "ingest", "raw", "set"]) == 130
    assert capsys.readouterr().err == "error: interrupted.\n"
