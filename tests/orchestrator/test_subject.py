"""What may be drawn: presets, files, trials; and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.main import run
from orchestrator.errors import SubjectError, UnknownSearchError
from orchestrator.subject import read_size, subject
from search_spaces.candidate import to_json
from search_spaces.errors import SpaceError, UnknownKindError
from search_spaces.preset import load_preset

UNET = load_preset("small_unet").candidate()


@pytest.mark.parametrize(
    "wrap", [lambda data: data, lambda data: {"candidate": data}, lambda data: [{"candidate": data}]]
)
def test_a_file_holds_a_candidate_in_the_forms_that_commands_print(
    tmp_path: Path, wrap: Callable[[Any], Any]
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(wrap(to_json(UNET))))
    found = subject(str(path), storage=str(tmp_path))
    assert (found.candidate, found.title) == (UNET, "mine")


def test_a_preset_brings_its_channels_and_classes() -> None:
    found = subject("unet", storage=".")
    assert (found.channels, found.classes) == load_preset("unet").channels


def test_what_is_no_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGSEARCH_JOURNAL", raising=False)
    with pytest.raises(UnknownKindError, match="did you mean 'small_unet'"):
        subject("small_unett", storage=str(tmp_path))
    with pytest.raises(SubjectError, match="cannot be read as JSON"):
        subject(str(tmp_path / "gone.json"), storage=str(tmp_path))
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(SpaceError, match="unknown key 'a'"):
        subject(str(tmp_path / "other.json"), storage=str(tmp_path))
    with pytest.raises(UnknownSearchError):
        subject("nothing:3", storage=str(tmp_path))


@pytest.mark.parametrize("text", ["64", "64x", "0x64", "64x64x64x64", "axb"])
def test_sizes_are_two_or_three_numbers(text: str) -> None:
    assert read_size("64X32") == (64, 32)
    with pytest.raises(SubjectError, match="write HxW or DxHxW"):
        read_size(text)


def test_the_command_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "difference.png"
    assert run(["space", "picture", "small_unet", "small_deeplabv3plus", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"picture": str(out), "bytes": out.stat().st_size}
    assert run(["space", "picture", "small_unet", "--out", str(tmp_path / "a.gif")]) == 2
    assert "name one of these" in capsys.readouterr().err
