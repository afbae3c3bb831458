"""The MLflow UI for a storage folder, on loopback, with the settings that make it quick."""

import http.client
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable

from orchestrator.errors import OrchestratorError
from orchestrator.journal import Journal
from orchestrator.places import absolute, journal_url, tracking_uri
from orchestrator.search import interruptible
from orchestrator.tracking import CONSUMER, Published, Publisher, analyze

START_S = 90.0


class UiError(OrchestratorError):
    """The MLflow UI could not be started."""


def serve(storage: str, *, port: int, say: Callable[[str], None]) -> None:
    """Publish what is missing, start the UI, and wait until it ends or Ctrl-C.

    Raises:
        UiError: The port is taken, or the server does not answer.
    """
    uri = tracking_uri(storage)
    is_served = uri.startswith(("http://", "https://"))
    if not is_served:
        check_free(port)
    publish_all(storage, uri, say)
    if is_served:
        say(f"MLflow runs at {uri}; open it in a browser.")
        return
    analyze(uri)
    server = subprocess.Popen(command(storage, uri, port), env={**os.environ, **SETTINGS}, stdout=sys.stderr)
    try:
        with interruptible():
            wait_until_up(f"http://127.0.0.1:{port}", server)
            for name, address in run_lists(storage, port):
                say(f"runs of {name}, best first: {address}")
            say(f"MLflow UI: http://127.0.0.1:{port}   (Ctrl-C ends it)")
            server.wait()
    except KeyboardInterrupt:
        say("ended")
    finally:
        server.terminate()
        server.wait()


def check_free(port: int) -> None:
    """Whoever answers on a port that is taken would be shown in place of the server that cannot start.

    Raises:
        UiError: It is taken.
    """
    with socket.socket() as probe:
        # a server that has just ended does not keep it
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UiError(
                f"port {port} on 127.0.0.1: {error.strerror}; name another one with --port."
            ) from None


SETTINGS = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # five queue processes that a viewer does not need
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


def run_lists(storage: str, port: int) -> list[tuple[str, str]]:
    """Address of each search's run list, sorted by what it searched for."""
    journal = Journal(journal_url(storage))
    found = []
    for name in journal.names():
        state = Published.from_json(journal.cursor(name, CONSUMER).data)
        if state.experiment:
            best_first = {
                "orderByKey": f"metrics.`{state.objective}`",
                "orderByAsc": str(not state.maximize).lower(),
            }
            order = urllib.parse.urlencode(best_first)
            found.append((name, f"http://127.0.0.1:{port}/#/experiments/{state.experiment}/runs?{order}"))
    return found


def command(storage: str, uri: str, port: int) -> list[str]:
    """The server's command line: loopback, one worker, artifacts from the storage folder."""
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--backend-store-uri", uri]
    folder = absolute("runs" if "://" in storage else storage)
    return [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        *options,
        "--artifacts-destination",
        f"{folder}/mlartifacts",
    ]


def publish_all(storage: str, uri: str, say: Callable[[str], None]) -> None:
    """Publish every search of the journal as far as it is not."""
    journal = Journal(journal_url(storage))
    for name in journal.names():
        count = Publisher(journal, name, uri).publish() if journal.leader(name) is None else 0
        if count:
            say(f"published {count} events of {name}")


def wait_until_up(url: str, server: subprocess.Popen[bytes], *, limit_s: float = START_S) -> None:
    """Wait until the server answers.

    Raises:
        UiError: It ended, or does not answer in time.
    """
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if server.poll() is not None:
            raise UiError(f"the MLflow server ended at once (exit {server.returncode}); it says why above.")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except (OSError, http.client.HTTPException):  # nobody yet, or somebody else who speaks no HTTP
            time.sleep(0.2)
    raise UiError(f"the MLflow server does not answer at {url} within {limit_s:.0f} s.")
