"""Where the viewer leads."""

import socket
import subprocess
import threading
from pathlib import Path

import pytest

from orchestrator.journal import Cursor, Journal
from orchestrator.places import JOURNAL_VARIABLE, TRACKING_VARIABLE, journal_url
from orchestrator.tracking import CONSUMER, Published
from orchestrator.ui import UiError, run_lists, serve, wait_until_up


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


def test_another_server_that_speaks_no_http_is_not_taken_for_the_viewer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"\x00\x01\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        with subprocess.Popen(["sleep", "60"]) as server:
            with pytest.raises(UiError, match="does not answer"):
                wait_until_up(url, server, limit_s=0.1)
            server.kill()
        thread.join()
