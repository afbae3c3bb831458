"""What holds for the command line as a whole: the first words that a user types, and what goes wrong before any search."""

import json
from pathlib import Path

import pytest
import typer
from PIL import Image
from rich.console import Console

from orchestrator.cli.main import app
from orchestrator.cli.main import run as run_command
from orchestrator.cli.output import print_table
from orchestrator.cli.results import verdict
from orchestrator.engine import events
from orchestrator.journal import Journal
from orchestrator.lead import Place

JOB = "name: demo\ndataset: nowhere\ndata: {size: [64, 64]}\n"
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
    assert len(listed) == len(commands.commands)  # type: ignore[attr-defined]  # the application is a group
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
    for place in ("images", "masks"):
        (folder / place).mkdir()
        Image.new("L", (40, 40)).save(folder / place / "a.png")
    (folder / "file").write_text("")
    assert run_command(["init", ".", "--out", "file/job.yaml"]) == 1
    assert capsys.readouterr().err == "error: file: File exists.\n"


@pytest.mark.parametrize(
    ("arguments", "verb", "name"),
    [
        (["resume", "demo"], "resume", "demo"),
        (["retrain", "demo"], "retrain", "demo"),
        (["run", "x.yaml"], "run", "NAME"),
    ],
)
def test_an_interrupted_driver_says_what_goes_on(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    verb: str,
    name: str,
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    (folder / "x.yaml").write_text(JOB)
    monkeypatch.setattr(f"orchestrator.verbs.{verb}", interrupt)
    assert run_command(arguments) == 130
    assert (
        capsys.readouterr().err
        == f"error: interrupted; 'segsearch resume {name}' goes on where it stopped.\n"
    )


@pytest.mark.parametrize("arguments", [["run", "x.yaml"], ["fork", "other", "--with", "x.yaml"]])
def test_a_job_file_may_change_while_its_search_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    def search(*_: object, **__: object) -> dict[str, str]:
        (folder / "x.yaml").unlink()
        return {"split": "test"}

    (folder / "x.yaml").write_text(JOB)
    monkeypatch.setattr(f"orchestrator.verbs.{arguments[0]}", search)
    assert run_command([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"split": "test"}


def test_retraining_is_watched_and_may_run_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places: list[Place] = []

    def retrain(*_: object, place: Place, **__: object) -> list[object]:
        places.append(place)
        return []

    monkeypatch.setattr("orchestrator.verbs.retrain", retrain)
    assert run_command(["retrain", "demo", "--cluster", "auto", "--no-tracking", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"
    [place] = places
    assert place.watch is not None and place.cluster == "auto" and not place.track


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (0.01, 0.03, "The winner is better than unet: +0.0200 [+0.0100, +0.0300] Dice."),
        (
            -0.01,
            0.05,
            "These cases show no difference between the winner and unet: +0.0200 [-0.0100, +0.0500] Dice.",
        ),
    ],
)
def test_what_a_comparison_says(low: float, high: float, sentence: str) -> None:
    assert verdict({"dice": 0.02, "low": low, "high": high}, "unet", cases=9) == sentence


def test_one_case_shows_nothing() -> None:
    said = verdict({"dice": 0.02, "low": 0.02, "high": 0.02}, "unet", cases=1)
    assert said == "One case cannot show whether the winner or unet is better: +0.0200 Dice."


@pytest.mark.parametrize("width", [80, 120])
def test_a_narrow_screen_cuts_neither_numbers_nor_names(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("orchestrator.cli.output.console", lambda: Console(width=width))
    columns = ("rank", "trial", "name", "purpose", "epochs", "value", "parameters", "worker-s", "status")
    row = (1, 29, "small_deeplabv3plus", "retrain", 270, 0.8474, 31_452_675, 3090, "completed")
    print_table("leaderboard (15 of 30 trials)", columns, [row])
    out = capsys.readouterr().out
    assert "…" not in out and max(map(len, out.splitlines())) <= width
    assert "31,452,675" in out and "small_deeplabv3" in out and ("┃" in out) is (width == 120)
