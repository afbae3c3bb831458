"""``segsearch data ingest --dry-run`` as a user types it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.cli.main import run as run_command


def test_it_describes_draws_and_writes_nothing_else(
    red_pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        run_command(["data", "ingest", str(red_pictures), "set", "--dry-run", "--picture", "a/sheet.png"])
        == 0
    )
    out = capsys.readouterr().out
    assert "layout image_masks; no data set was written" in out
    assert "18 x 24 (height x width)" in out and "foreground" in out and "picture: a/sheet.png" in out
    with Image.open("a/sheet.png") as sheet:
        assert sheet.format == "PNG"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["sheet.png"]


def test_json_and_exit_2_where_something_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("images", "masks"):
        (tmp_path / place).mkdir()
        for number in range(3):
            Image.new("L", (4, 4), number % 2).save(tmp_path / place / f"{number}.png")
    (tmp_path / "masks/2.png").unlink()
    assert run_command(["data", "ingest", str(tmp_path), "--dry-run", "--json"]) == 2
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["source"] == "image_masks" and "1 images without labels: 2.png" in found["problems"]
    assert "an ingest would write nothing" in err and "1 images without labels: 2.png" in err


@pytest.mark.parametrize("extra", [[], ["somewhere", "--picture", "x.png"]])
def test_a_destination_or_a_dry_run(
    red_pictures: Path, extra: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["data", "ingest", str(red_pictures), *extra]) == 2
    assert "give a folder to write, or --dry-run" in capsys.readouterr().err
