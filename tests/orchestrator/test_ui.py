"""Where the viewer leads."""

import socket
from pathlib import Path

import pytest

from orchestrator.journal import Cursor, Journal
from orchestrator.places import JOURNAL_VARIABLE, TRACKING_VARIABLE, journal_url
from orchestrator.tracking import CONSUMER, Published
from orchestrator.ui import UiError, run_lists, serve


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


def test_a_port_that_is_taken_is_said_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(JOURNAL_VARIABLE, raising=False)
    monkeypatch.delenv(TRACKING_VARIABLE, raising=False)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            UiError, match=f"port {port} on 127.0.0.1: Address already in use; name another one"
        ):
            serve(str(tmp_path), port=port, say=print)
    assert list(tmp_path.iterdir()) == []
