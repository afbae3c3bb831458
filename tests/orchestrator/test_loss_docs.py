"""What the pages on losses and metrics say exists."""

import re
from pathlib import Path

import pytest

from search_spaces.loss import LossTerm
from search_spaces.register import kinds, lookup
from workers.measure import measured_metrics
from workers.metrics import metric_names

DOCS = Path(__file__).parents[2] / "docs"


def rows(page: Path) -> set[str]:
    """Names in code at the beginning of a row of a table."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return {match[1] for line in lines if (match := re.match(r"\| `([a-z_]+)`", line))}


@pytest.mark.parametrize("role", ["distribution", "region", "boundary", "regulariser"])
def test_each_term_stands_on_the_page_of_its_role(role: str) -> None:
    # entries are concrete
    found = {kind for kind in kinds(LossTerm) if lookup(LossTerm, kind).role == role}  # type: ignore[type-abstract]
    assert rows(DOCS / "losses" / f"{role}.md") & set(kinds(LossTerm)) == found


def test_the_index_names_each_term() -> None:
    text = (DOCS / "losses" / "README.md").read_text(encoding="utf-8")
    assert [kind for kind in kinds(LossTerm) if f"`{kind}`" not in text] == []


def test_the_page_on_metrics_names_each_metric() -> None:
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    names = {name.partition("/")[0] for name in (*metric_names(("a", "b")), *measured_metrics(("a", "b")))}
    parts = {name for name in names if re.search(r"^case_|_(split|merge)$", name)}
    assert [name for name in sorted(names - parts) if f"`{name}" not in text] == []
