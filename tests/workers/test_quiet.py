"""Warnings are dropped in every thread, and come again afterwards."""

import warnings
from threading import Event, Thread

import pytest

from workers.quiet import quiet


def test_who_leaves_first_does_not_end_the_quiet_of_others() -> None:
    """``warnings.catch_warnings`` alone fails here: the thread that leaves first restores the filters of before."""
    entered, both, left = Event(), Event(), Event()
    told: list[str] = []

    def first() -> None:
        with quiet(UserWarning):
            entered.set()
            assert both.wait(20)
        left.set()

    def last() -> None:
        assert entered.wait(20)
        with quiet(UserWarning):
            both.set()
            assert left.wait(20)
            try:
                warnings.warn("odd", UserWarning, stacklevel=1)
            except UserWarning:
                told.append("heard")

    before = list(warnings.filters)
    threads = [Thread(target=work) for work in (first, last)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert told == [] and warnings.filters == before


def test_other_warnings_are_heard() -> None:
    with quiet(UserWarning), pytest.warns(DeprecationWarning):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    with pytest.warns(UserWarning):
        warnings.warn("odd", UserWarning, stacklevel=1)
