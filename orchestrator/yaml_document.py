"""Strict YAML: data only, each value with the place where it was written.

Refused, each with line and column: anchors and aliases, tags, duplicate keys, several documents, keys that are not text, NaN
and infinity, numbers that YAML 1.1 and people read differently (012, 1_000, dates stay text), and files beyond the limits.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 1 << 20
MAX_NODES = 10_000
MAX_DEPTH = 32

Path = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_REAL = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF|nan|NaN|NAN)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file.

    Attributes:
        line, column: Where, 1-based.
        path: Dotted path of the value, or empty.
        message: What was given, what is allowed, what to do.
    """

    line: int
    column: int
    path: str
    message: str


class DocumentError(ValueError):
    """A file with everything that is wrong with it.

    Attributes:
        source: Name of the file.
        problems: All of them, in the order of the file.
    """

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = sorted(problems, key=lambda p: (p.line, p.column, p.message))
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line a problem: where, and what."""
        return [
            f"{self.source}:{p.line}:{p.column}: {p.path + ': ' if p.path else ''}{p.message}"
            for p in self.problems
        ]


@dataclass(slots=True)
class Document:
    """A parsed file.

    Attributes:
        value: Mappings, lists, text, integers, reals, booleans and None.
        places: Line and column of each path; of a mapping's entry, where its key stands.
        problems: What is already known to be wrong.
    """

    source: str
    value: Any = None
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path) -> tuple[int, int]:
        """Where a path stands; where it does not exist, its nearest parent."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))

    def problem(self, path: Path, message: str) -> Problem:
        """A problem at a path."""
        line, column = self.place(path)
        return Problem(line, column, ".".join(map(str, path)), message)


def parse_document(text: str, source: str) -> Document:
    """Read strict YAML.

    Raises:
        DocumentError: It is not YAML at all, empty, or beyond a limit. Smaller faults stand in ``Document.problems``.
    """
    if len(text.encode()) > MAX_BYTES:
        raise _fatal(source, f"the file has {len(text.encode()):,} bytes; the limit is {MAX_BYTES:,}.")
    document = Document(source)
    try:
        _check_events(text, document)
        node = yaml.compose(text, Loader=yaml.SafeLoader) if not document.problems else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise DocumentError(
            source, [Problem(line, column, "", f"not valid YAML: {error.problem}.")]
        ) from None
    except yaml.YAMLError as error:
        raise _fatal(source, f"not valid YAML: {' '.join(str(error).split())}.") from None
    if document.problems:
        raise DocumentError(source, document.problems)
    if node is None:
        raise _fatal(source, "empty; 'segsearch init FOLDER' writes a job file to start from.")
    if not isinstance(node, yaml.MappingNode):
        raise _fatal(
            source,
            f"expected a mapping at the top, got a {'list' if isinstance(node, yaml.SequenceNode) else 'text'}.",
        )
    document.value = _value(node, (), document)
    return document


def _fatal(source: str, message: str) -> DocumentError:
    return DocumentError(source, [Problem(1, 1, "", message)])


def _check_events(text: str, document: Document) -> None:
    nodes = depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        mark: Any = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        tag = getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            document.problems.append(
                Problem(line, column, "", "anchors and aliases are not allowed; write the value out.")
            )
        if tag is not None:
            document.problems.append(
                Problem(line, column, "", f"tags are not allowed, got {tag!r}; remove it.")
            )
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if depth > MAX_DEPTH or nodes > MAX_NODES or documents > 1:
            limit = f"one document, {MAX_DEPTH} levels and {MAX_NODES:,} values"
            document.problems.append(Problem(line, column, "", f"too much: a file may hold {limit}."))
            return


def _value(node: yaml.Node, path: Path, document: Document) -> Any:
    document.places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, (*path, index), document) for index, child in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    return _scalar(node, path, document)


def _mapping(node: yaml.MappingNode, path: Path, document: Document) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append(Problem(line, column, ".".join(map(str, path)), "a key must be text."))
            continue
        key = key_node.value
        here = (*path, key)
        if key in result:
            first = document.places[here][0]
            message = f"given twice, first on line {first}; keep one."
            document.problems.append(Problem(line, column, ".".join(map(str, here)), message))
            continue
        document.places[here] = (line, column)
        result[key] = _value(value_node, here, document)
    return result


def _scalar(node: yaml.ScalarNode, path: Path, document: Document) -> Any:
    text = node.value
    if node.style is not None:  # quoted, or a block: text whatever it looks like
        return text
    if text in ("true", "false"):
        return text == "true"
    if text in ("", "null", "~"):
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    if _SPECIAL.fullmatch(text) or (_REAL.fullmatch(text) and math.isinf(float(text))):
        document.problems.append(document.problem(path, f"must be a finite number, got {text}."))
        return 1.0
    if _REAL.fullmatch(text) and not re.fullmatch(r"[-+]?0[0-9]+", text):
        return float(text)
    return text
