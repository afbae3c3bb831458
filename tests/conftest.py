"""Marks by folder, and threads that suit small machines."""

from pathlib import Path

import pytest

import workers  # noqa: F401  # sets how OpenMP waits, before torch is imported

FOLDERS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``integration`` and ``e2e`` come from the folder."""
    for item in items:
        top = item.path.relative_to(FOLDERS).parts[0]
        if top in ("integration", "e2e"):
            item.add_marker(top)
