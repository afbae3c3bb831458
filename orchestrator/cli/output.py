"""How commands print: one table style for people, JSON for machines."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from orchestrator.progress import ProgressView


WIDEST = 10_000  # characters; what a table is measured with


def console() -> Console:
    """Standard output; as wide as the text where it is no terminal."""
    if sys.stdout.isatty():
        return Console()
    return Console(width=200, force_terminal=False)


def watching(as_json: bool) -> "ProgressView":
    """What shows a search while it runs: on standard error where standard output is for a machine."""
    from orchestrator.progress import ProgressView

    return ProgressView(Console(stderr=True) if as_json else console())


def print_json(value: Any) -> None:
    """Indented JSON on standard output."""
    print(json.dumps(value, indent=1, default=str))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table; numbers stand to the right and are never cut. Where the screen is too narrow for its words, it has no lines."""
    screen = console()
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], int | float) or row[index] is None for row in rows) and bool(
            rows
        )
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    if screen.measure(table, options=screen.options.update(max_width=WIDEST)).minimum > screen.width:
        # lines would leave no room for words
        table.box, table.padding, table.pad_edge = None, (0, 1, 0, 0), False
    screen.print(table)


def cell(value: Any) -> str:
    """Text of a table cell."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def count(number: int, noun: str) -> str:
    """1 case, 2 cases."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
