"""Warnings of libraries that say nothing to a user are dropped, in any number of threads."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock


class _Inside:
    """How many are inside ``quiet``. Filters of warnings belong to the process, so that each thread that restored those
    that it found could end the quiet of others, or make its own last for ever: the last one out restores them.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.count = 0
        self.filters = ExitStack()


_inside = _Inside()


@contextmanager
def quiet(*categories: type[Warning]) -> Iterator[None]:
    """Without warnings of these categories, for as long as any thread is inside."""
    with _inside.lock:
        if not _inside.count:
            _inside.filters.enter_context(warnings.catch_warnings())
        for category in categories:
            warnings.simplefilter("ignore", category)
        _inside.count += 1
    try:
        yield
    finally:
        with _inside.lock:
            _inside.count -= 1
            if not _inside.count:
                _inside.filters.close()
