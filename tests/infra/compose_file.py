"""A compose file as Compose reads it: variables filled in, YAML merges resolved."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

INFRA = Path(__file__).parents[2] / "infra"
COMPOSE = INFRA / "compose" / "compose.yaml"
GPU_OVERRIDE = INFRA / "compose" / "compose.gpu.yaml"
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z][A-Z0-9_]*)(?:(?P<rule>:[-?])(?P<rest>[^}]*))?\}")


def variables(text: str) -> dict[str, str | None]:
    """Each ``${VARIABLE}`` with its default; None where it must be set."""
    return {
        match["name"]: match["rest"] if match["rule"] == ":-" else None for match in _VARIABLE.finditer(text)
    }


def load_compose(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Read a compose file.

    Raises:
        KeyError: A variable without a default is not in the environment.
    """

    def value(match: re.Match[str]) -> str:
        default = match["rest"] if match["rule"] == ":-" else None
        found = environment.get(match["name"], "") or default
        if found is None:
            raise KeyError(match["name"])
        return found

    document: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(value, path.read_text()))
    return document


def strings(value: object) -> Iterator[str]:
    """Every text in a document, however deep, keys apart."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value
