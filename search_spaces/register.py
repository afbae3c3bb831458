"""Open sets: entries found by their public name, one file each, no list to edit.

A family is an abstract dataclass (``Operation``, ``Context``, ``LossTerm``, ...). An entry is a frozen
dataclass that derives from it, stands in its own file in the family's folder and is decorated with
``@entry("name")``. Looking up a name imports the family's folder first, so that an entry exists as soon as
its file does.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import ClassVar, TypeVar

from search_spaces.errors import SpaceError, UnknownKindError

T = TypeVar("T", bound="Entry")


class Entry:
    """Base of every family: what a name is looked up in.

    Attributes:
        family: Singular name of the family, for messages; set by the family.
        folder: Dotted package that holds the family's entries; set by the family.
        kind: Public name of the entry; set by the decorator.
    """

    family: ClassVar[str] = ""
    folder: ClassVar[str] = ""
    kind: ClassVar[str] = ""


_entries: dict[str, dict[str, type[Entry]]] = {}
_loaded: set[str] = set()


def entry(kind: str) -> Callable[[type[T]], type[T]]:
    """Give a class its public name inside its family.

    Raises:
        SpaceError: The name is taken by another class of the family.
    """

    def register(cls: type[T]) -> type[T]:
        known = _entries.setdefault(cls.family, {})
        taken = known.get(kind)
        if taken is not None and taken.__qualname__ != cls.__qualname__:
            raise SpaceError(
                f"{cls.family} {kind!r} is already defined by {taken.__module__}.{taken.__qualname__}"
            )
        cls.kind = kind
        known[kind] = cls
        return cls

    return register


def kinds(family: type[Entry]) -> tuple[str, ...]:
    """Public names of a family's entries, sorted."""
    _load(family)
    return tuple(sorted(_entries.get(family.family, {})))


def lookup(family: type[T], kind: str) -> type[T]:
    """The entry of a family with this public name.

    Raises:
        UnknownKindError: No entry has it; the message offers the nearest name.
    """
    _load(family)
    known = _entries.get(family.family, {})
    if kind not in known:
        raise UnknownKindError(unknown_name(family.family, kind, known))
    return known[kind]  # type: ignore[return-value]  # entries of a family derive from it


def unknown_name(what: str, given: str, known: Iterable[str]) -> str:
    """One sentence for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown {what} {given!r}{hint} Known: {', '.join(names) or 'none'}."


def _load(family: type[Entry]) -> None:
    if not family.folder or family.folder in _loaded:
        return
    package = importlib.import_module(family.folder)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{family.folder}.{module.name}")
    _loaded.add(family.folder)
