"""What the documents say exists: commands, links, examples in the help, the example job."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from orchestrator.cli.main import app
from orchestrator.job import load_job
from search_spaces.space import space_names

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("infra/*.md"), *ROOT.glob("examples/**/*.md")]
)
PRESENT = [page for page in PAGES if page.name not in ("design.md", "style.md")]
"""Pages that speak of what exists; the design also names commands that will."""

_COMMAND = re.compile(r"\bsegsearch((?: +[^\s`|#;]+)+)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with its path."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


TREE = dict(commands(typer.main.get_command(app)))
GROUPS = {path[0] for path in TREE if len(path) > 1}


def named_commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Command lines in code, indented blocks or inline, as (text, words after ``segsearch``)."""
    for line in page.read_text(encoding="utf-8").splitlines():
        code = [line] if line.startswith("    ") else re.findall(r"`([^`]+)`", line)
        for text in code:
            if text.strip().startswith("kubectl "):
                continue  # segsearch is the name of a namespace there
            for match in _COMMAND.finditer(text):
                words = match[1].split()
                if not re.fullmatch(r"[a-z-]+", words[0]):
                    continue  # prose or a variable
                yield match[0], words


def anchors(page: Path) -> set[str]:
    """Names of a page's headings as links call them."""
    heads = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_a_page_names_exist(page: Path) -> None:
    for text, words in named_commands(page):
        path = tuple(words[: 2 if words[0] in GROUPS else 1])
        assert path in TREE, f"{page.name}: no such command: {text}"
        options = {name for parameter in TREE[path].params for name in parameter.opts} | {"--help"}
        for word in words[len(path) :]:
            if word.startswith("--"):
                assert word.split("=")[0] in options, f"{page.name}: no such option: {text}"


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [" ".join(path) for path in TREE if f"segsearch {' '.join(path)}" not in text]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}: no such heading"


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_help_shows_an_example_of_the_command(path: tuple[str, ...]) -> None:
    text = " ".join((TREE[path].help or "").split())
    assert f"Example: segsearch {' '.join(path)}" in text
    example = shlex.split(text.partition("Example: segsearch ")[2])
    options = {name for parameter in TREE[path].params for name in parameter.opts}
    assert {word for word in example if word.startswith("--")} <= options


def test_all_commands_but_those_the_readme_names_print_json_on_demand() -> None:
    without = {path for path, command in TREE.items() if not any("--json" in p.opts for p in command.params)}
    assert without == {
        ("stop",),
        ("extend",),
        ("pause",),
        ("cancel",),
        ("logs",),
        ("ui",),
        ("space", "sample"),
        ("preset", "show"),
    }


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*.yaml")), ids=lambda path: path.name)
def test_example_jobs_load(path: Path) -> None:
    job = load_job(path)
    assert job.name == path.stem
    assert job.space in space_names()
    assert job.raw is None or (ROOT / job.raw).is_dir()


def test_the_job_file_of_the_readme_loads(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text.partition("## The job file")[2].partition("\n## ")[0]
    lines = [line[4:] for line in block.splitlines() if line.startswith("    ")]
    (tmp_path / "job.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert load_job(tmp_path / "job.yaml").name == "hippocampus"
