"""Where the viewer leads."""

from pathlib import Path

import pytest

from orchestrator.journal import Cursor, Journal
from orchestrator.places import JOURNAL_VARIABLE, journal_url
from orchestrator.tracking import CONSUMER, Published
from orchestrator.ui import run_lists


@pytest.mark.parametrize(
    ("objective", "maximize", "expected"),
    [
        ("dice", True, "metrics.%60dice%60&orderByAsc=false"),
        ("hd95", False, "metrics.%60hd95%60&orderByAsc=true"),
    ],
)
def test_the_best_run_stands_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str, maximize: bool, expected: str
) -> None:
    monkeypatch.delenv(JOURNAL_VARIABLE, raising=False)
    journal = Journal(journal_url(str(tmp_path)))
    journal.create("s")
    published = Published(experiment="7", objective=objective, maximize=maximize)
    journal.move("s", CONSUMER, Cursor(1, published.to_json()))
    [(name, address)] = run_lists(str(tmp_path), 5000)
    assert name == "s" and address.endswith(f"/#/experiments/7/runs?orderByKey={expected}")
    journal.close()
