"""Code that is not ours: a user's entries are named by what they contain, as their file may change under one name."""

import functools
import hashlib
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

OWN = frozenset({"orchestrator", "search_spaces", "workers"})


def foreign_code(value: object) -> dict[str, str]:
    """Digests of the user's modules whose entries take part in a value, by module name; empty for ours alone."""
    return {module: code for module in sorted(_modules(value)) if (code := code_digest(module))}


@functools.lru_cache(maxsize=1000)
def code_digest(module: str) -> str:
    """BLAKE2b-128 of the source of an imported top-level module or package; empty where it has no file."""
    loaded = sys.modules.get(module)
    folders = [Path(folder) for folder in getattr(loaded, "__path__", ())]
    file = getattr(loaded, "__file__", None)
    sources = [(path.relative_to(top), path) for top in folders for path in top.rglob("*.py")]
    if not folders and file is not None:
        sources = [(Path(file).relative_to(Path(file).parent), Path(file))]
    if not sources:
        return ""
    found = hashlib.blake2b(digest_size=16)
    for name, path in sorted(sources):
        data = path.read_bytes()
        found.update(f"{name.as_posix()}\0{len(data)}\0".encode() + data)
    return found.hexdigest()


def _modules(value: object) -> set[str]:
    """Top-level names of modules outside of ours that define a dataclass within a value."""
    if is_dataclass(value) and not isinstance(value, type):
        top = type(value).__module__.partition(".")[0]
        inner = set().union(*(_modules(getattr(value, field.name)) for field in fields(value)))
        return inner if top in OWN else inner | {top}
    if isinstance(value, tuple):
        return set().union(*(_modules(item) for item in value))
    return set()
