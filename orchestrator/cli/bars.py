"""How commands that work through many cases say how far they are."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0


@contextmanager
def progress_bars(*stages: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error for each stage, with the time that is left; a line now and then where it is no terminal."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {stage: bar.add_task(stage, total=None) for stage in stages}
        yield lambda stage, done, total: bar.update(tasks[stage], completed=done, total=total)


def _lines() -> Callable[[str, int, int], None]:
    """Print how far it is every ten seconds."""
    said = time.monotonic()

    def on_progress(stage: str, done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= LINE_EVERY_S:
            said = time.monotonic()
            print(f"{stage}: {done} of {total}", file=sys.stderr, flush=True)

    return on_progress
