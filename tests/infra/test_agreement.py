"""What the files of ``infra`` say of segsearch is so: its commands, its variables, its version, packages and theirs."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
import yaml
from packaging.specifiers import SpecifierSet

from orchestrator.cli.main import app
from tests.infra.compose_file import COMPOSE, INFRA, strings, variables

REPOSITORY = INFRA.parent
FILES = sorted(path for path in INFRA.rglob("*") if path.suffix in (".yaml", ".mlflow", ".ray", ".seaweedfs"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
LOCK = dict(line.split("==") for line in (REPOSITORY / "requirements.lock").read_text().splitlines())
SOURCES = "\n".join(
    path.read_text() for name in ("orchestrator", "workers") for path in (REPOSITORY / name).rglob("*.py")
)
VARIABLE = re.compile(r"\bSEGSEARCH_[A-Z_]+\b")
OWN_IMAGE = re.compile(r"\bsegsearch-(?:ray-code|mlflow):([0-9][\w.]*?)(?:-cuda)?(?=[\s\"']|$)")


# Each yields a sentence for each thing that is not so.


def unread_variables(text: str) -> Iterator[str]:
    """Variables that the program is given and does not read; those that Compose puts in are tested with it."""
    ours = set(VARIABLE.findall(text)) - set(variables(COMPOSE.read_text()))
    yield from (f"{name}: nothing reads it" for name in sorted(ours) if f'"{name}"' not in SOURCES)


def other_versions(text: str) -> Iterator[str]:
    for found in OWN_IMAGE.findall(text):
        if found != PROJECT["project"]["version"]:
            yield f"image of segsearch {found}, which is {PROJECT['project']['version']}"
    for found in re.findall(r"rayVersion: ([\w.]+)", text):
        if found != LOCK["ray"]:
            yield f"rayVersion {found}; requirements.lock has {LOCK['ray']}"
    for found in re.findall(r"FROM python:(\d+\.\d+\.\d+)", text):
        if found not in SpecifierSet(PROJECT["project"]["requires-python"]):
            yield f"Python {found} is not {PROJECT['project']['requires-python']}"


def wrong_commands(text: str) -> Iterator[str]:
    """Command lines of the supervisor, which takes those of ``segsearch`` that lead a search."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # the application is a group
    for command in re.findall(r"python3? -m (orchestrator\.supervisor .*)", _joined(text)):
        module, name, *arguments = shlex.split(command)
        if find_spec(module) is None:
            yield f"{module}: no such module"
        try:
            commands[name].make_context(name, arguments)
        except Exception as error:  # whatever the parser says
            yield f"{command}: {error!r}"


def _joined(text: str) -> str:
    """A YAML file's folded scalars on one line each, as the program will be given them."""
    return "\n".join(strings(list(yaml.safe_load_all(text)))) if "apiVersion:" in text else text


RULES = (unread_variables, other_versions, wrong_commands)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(INFRA)))
def test_the_file_agrees_with_the_program(path: Path) -> None:
    assert [problem for rule in RULES for problem in rule(path.read_text())] == []


@pytest.mark.parametrize(
    ("name", "old", "new", "finding"),
    [
        ("kuberay/namespace.yaml", "SEGSEARCH_JOURNAL", "SEGSEARCH_DATABASE", "SEGSEARCH_DATABASE: nothing"),
        ("docker/Dockerfile.ray", "SEGSEARCH_CACHE=", "SEGSEARCH_FOLDER=", "SEGSEARCH_FOLDER: nothing"),
        ("kuberay/rayjob.yaml", "ray-code:0.1.0", "ray-code:0.0.9", "image of segsearch 0.0.9"),
        ("compose/compose.yaml", "segsearch-mlflow:0.1.0", "segsearch-mlflow:0.2", "image of segsearch 0.2"),
        ("kuberay/raycluster.yaml", "rayVersion: 2.60.0", "rayVersion: 2.59.0", "rayVersion 2.59.0"),
        ("docker/Dockerfile.mlflow", "python:3.11.14", "python:3.10.9", "Python 3.10.9 is not"),
        ("kuberay/rayjob.yaml", "--storage s3:", "--store s3:", "No such option"),
        ("kuberay/rayjob.yaml", "supervisor run", "supervisor search", "search"),
    ],
)
def test_what_does_not_agree_is_found(name: str, old: str, new: str, finding: str) -> None:
    text = (INFRA / name).read_text()
    assert old in text
    problems = [problem for rule in RULES for problem in rule(text.replace(old, new))]
    assert any(finding in problem for problem in problems), problems


def test_the_image_with_the_code_holds_every_package() -> None:
    dockerfile = (INFRA / "docker" / "Dockerfile.ray").read_text()
    packages = {
        name.removesuffix("*") for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    }
    assert set(re.findall(r"COPY (\w+) /srv/code/\w+", dockerfile)) == packages


def test_no_ray_of_ours_reports_its_use() -> None:
    compose = COMPOSE.read_text() + (INFRA / "compose" / "compose.gpu.yaml").read_text()
    assert compose.count("- start\n") == compose.count("- --disable-usage-stats\n") == 3
    for name in ("raycluster.yaml", "rayjob.yaml"):
        assert '{name: RAY_USAGE_STATS_ENABLED, value: "0"}' in (INFRA / "kuberay" / name).read_text()
