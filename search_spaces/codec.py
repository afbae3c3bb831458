"""Values as JSON and back, strictly, and their canonical form and digest.

Works on frozen dataclasses, families of entries and closed unions (both told apart by ``kind``), tuples,
literals and scalars. A value that can be written in several ways says which one counts by a method
``canonical() -> value``. A field that came to a class later has ``metadata=LATER``: at its default it is left out, so that
what was written before keeps its digest.
"""

import functools
import hashlib
import json
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from search_spaces.errors import SpaceError
from search_spaces.register import Entry, lookup, unknown_name

JSON = dict[str, Any]
T = TypeVar("T")
LATER = {"omit_default": True}


def to_json(value: object) -> Any:
    """JSON form: dataclasses become objects (with ``kind`` where they have one), tuples become lists."""
    if is_dataclass(value) and not isinstance(value, type):
        kind = getattr(value, "kind", None)
        head = {"kind": kind} if kind else {}
        shown = {
            field.name: getattr(value, field.name) for field in fields(value) if not _left_out(value, field)
        }
        return head | {name: to_json(part) for name, part in shown.items()}
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{value!r} has no JSON form")


def from_json(kind: type[T], data: object, where: str = "") -> T:
    """Read a value of a type from its JSON form.

    A field that is absent takes its default, so that what an older version wrote stays readable.

    Args:
        kind: The class to read, for instance ``Candidate`` or a family such as ``Context``.
        data: What ``to_json`` made.
        where: Path of the value, for messages.

    Raises:
        SpaceError: An unknown key or kind (the nearest name is offered), a missing key, a wrong type, a value
            that the class refuses.
    """
    return cast(T, _read(kind, data, where or kind.__name__.lower()))


def entry_from_json(family: Callable[..., T], data: object, where: str = "") -> T:
    """Read an entry of a family, which is an abstract class, from its JSON form; as ``from_json`` otherwise."""
    return cast(T, _read(family, data, where or cast(type[Entry], family).family))


def canonical(value: T) -> T:
    """The one form among all that mean the same; applying it twice changes nothing."""
    if is_dataclass(value) and not isinstance(value, type):
        changes = {}
        for field in fields(value):
            old = getattr(value, field.name)
            new = canonical(old)
            if new is not old:
                changes[field.name] = new
        changed = cast(T, replace(value, **changes)) if changes else value
        form = getattr(changed, "canonical", None)
        return cast(T, form()) if form is not None else changed
    if isinstance(value, tuple):
        items = tuple(canonical(item) for item in value)
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else cast(T, items)
    return value


def json_text(value: object) -> str:
    """Compact JSON with sorted keys: equal values, equal text."""
    return json.dumps(to_json(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def text_digest(text: str) -> str:
    """BLAKE2b-128 of a text, as 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _left_out(value: object, field: Field[Any]) -> bool:
    if not field.metadata.get("omit_default"):
        return False
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return bool(getattr(value, field.name) == default)


def _read(kind: Any, data: object, where: str) -> object:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _read_union(get_args(kind), data, where)
    if origin is Literal:
        if not any(type(data) is type(option) and data == option for option in get_args(kind)):
            allowed = ", ".join(repr(option) for option in get_args(kind))
            raise SpaceError(f"{where}: {data!r} given; allowed are {allowed}.")
        return data
    if origin is tuple:
        return _read_tuple(get_args(kind), data, where)
    if isinstance(kind, type) and issubclass(kind, Entry) and not kind.kind:
        return _read_dataclass(lookup(kind, _kind_of(data, where)), data, where)
    if is_dataclass(kind):
        return _read_dataclass(cast(type, kind), data, where)
    return _read_scalar(kind, data, where)


def _read_dataclass(kind: type, data: object, where: str) -> object:
    keys = _mapping(data, where)
    known: dict[str, Field[Any]] = {field.name: field for field in fields(kind)}
    own_kind = getattr(kind, "kind", None)
    if own_kind and keys.get("kind") != own_kind:
        raise SpaceError(f"{where}.kind: {keys.get('kind')!r} given; only {own_kind!r} is allowed here.")
    for key in keys:
        if key not in known and not (key == "kind" and own_kind):
            raise SpaceError(f"{where}: {unknown_name('key', key, known)}")
    hints = _hints(kind)
    values = {}
    for name, field in known.items():
        if name in keys:
            values[name] = _read(hints[name], keys[name], f"{where}.{name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise SpaceError(f"{where}: the key {name!r} is missing; add it.")
    return kind(**values)


def _read_union(options: tuple[Any, ...], data: object, where: str) -> object:
    if data is None and type(None) in options:
        return None
    classes = [option for option in options if is_dataclass(option)]
    if not classes:
        rest = [option for option in options if option is not type(None)]
        return _read(rest[0], data, where)
    by_kind = {getattr(option, "kind", ""): option for option in classes}
    kind = _kind_of(data, where)
    if kind not in by_kind:
        raise SpaceError(f"{where}.kind: {unknown_name('kind', kind, by_kind)}")
    return _read_dataclass(cast(type, by_kind[kind]), data, where)


def _read_tuple(arguments: tuple[Any, ...], data: object, where: str) -> object:
    if not isinstance(data, list | tuple):
        raise SpaceError(f"{where}: {data!r} given; a list is needed.")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(data)
    if len(arguments) != len(data):
        raise SpaceError(f"{where}: {len(data)} values given; {len(arguments)} are needed.")
    pairs = enumerate(zip(arguments, data, strict=True))
    return tuple(_read(argument, item, f"{where}.{index}") for index, (argument, item) in pairs)


def _read_scalar(kind: Any, data: object, where: str) -> object:
    if kind is float and type(data) is int:
        data = float(data)
    if type(data) is not kind or (isinstance(data, float) and not math.isfinite(data)):
        raise SpaceError(f"{where}: {data!r} given; a finite value of type {kind.__name__} is needed.")
    return data


def _kind_of(data: object, where: str) -> str:
    kind = _mapping(data, where).get("kind")
    if not isinstance(kind, str):
        raise SpaceError(f"{where}: the key 'kind' is missing; name what stands here.")
    return kind


def _mapping(data: object, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise SpaceError(f"{where}: {data!r} given; an object with named values is needed.")
    return data


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
