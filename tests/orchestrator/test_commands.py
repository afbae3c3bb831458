"""What holds for the command line as a whole: the first words that a user types, and what goes wrong before any search."""

from pathlib import Path

import pytest
import typer

from orchestrator.cli.main import app
from orchestrator.cli.main import run as run_command
from orchestrator.engine import events
from orchestrator.journal import Journal

GROUPS = [(), ("data",), ("space",), ("preset",), ("table",)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which commands are typed, without any variable that names a place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEGSEARCH_JOURNAL", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: " ".join(group) or "segsearch")
def test_a_list_of_commands_says_whole_sentences(
    group: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run_command([*group, "--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    commands = typer.main.get_command(app)
    for name in group:
        commands = commands.commands[name]  # type: ignore[attr-defined]  # of a group
    assert len(listed) == len(commands.commands)  # type: ignore[attr-defined]
    assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: " ".join(group) or "segsearch")
def test_a_group_alone_shows_its_help_and_no_error(
    group: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(list(group)) == 2
    out, err = capsys.readouterr()
    assert out.startswith("Usage: segsearch") and err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out == "segsearch 0.1.0\n"


@pytest.mark.parametrize("command", ["status", "leaderboard", "logs", "stop", "resume", "export", "audit"])
def test_asking_in_another_folder_says_where_it_looked_and_leaves_nothing(
    folder: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([command, "nobody"]) == 2
    err = capsys.readouterr().err
    assert (
        err
        == f"error: unknown search 'nobody'. Known: none. The journal is sqlite:///{folder}/runs/journal.db.\n"
    )
    assert list(folder.iterdir()) == []


def test_a_list_of_no_searches(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["list"]) == 0
    assert (
        capsys.readouterr().out
        == "no search began with this journal: sqlite:///" + f"{folder}/runs/journal.db\n"
    )
    assert run_command(["list", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("verb", ["stop", "pause", "cancel"])
def test_a_finished_search_gets_no_request_that_would_end_it_once_it_is_extended(
    folder: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(f"sqlite:///{folder}/runs/journal.db")
    job = {"retrain": {"top": 1}, "objectives": {"maximize": ["dice"]}}
    opened = events.opened(job, "", protocol={}, versions={}, seed=0)
    journal.create("done", [opened, events.noted("result", {"split": "test"})])
    assert run_command([verb, "done"]) == 0
    assert capsys.readouterr().out == f"done is finished; there is nothing to {verb}.\n"
    assert journal.inbox("done") == []
    journal.close()


def test_a_place_that_cannot_be_written_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").write_text("")
    assert run_command(["space", "picture", "small_unet", "--out", "file/network.svg"]) == 1
    assert capsys.readouterr().err == "error: file/network.svg: Not a directory.\n"
