"""Benchmarks find what they import of the product and of each other, whether their peers are installed or not."""

import ast
import importlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("*.py"))
PRODUCT = ("orchestrator", "search_spaces", "workers")


def imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Modules and the names that are taken from them, of the product and of other scripts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            top = node.module.partition(".")[0]
            if top in PRODUCT or (FOLDER / f"{top}.py").exists():
                yield from ((node.module, alias.name) for alias in node.names)


def names_of(script: Path) -> set[str]:
    """What a script defines or imports at its top."""
    found = set()
    for node in ast.parse(script.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        else:
            found |= {
                one.id
                for one in ast.walk(node)
                if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
            }
    return found


def exists(module: str, name: str) -> bool:
    if (FOLDER / f"{module}.py").exists():
        return name in names_of(FOLDER / f"{module}.py")
    found = importlib.import_module(module)
    return hasattr(found, name) or (hasattr(found, "__path__") and find_spec(f"{module}.{name}") is not None)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_what_a_benchmark_imports_exists(script: Path) -> None:
    missing = [one for one in imports(ast.parse(script.read_text())) if not exists(*one)]
    assert missing == []
    assert ast.get_docstring(ast.parse(script.read_text())), "says how it is called, and what it measures"
