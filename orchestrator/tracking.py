"""MLflow, the view: one experiment a search, a parent run and one flat run a trial, published from the journal.

The publisher reads events after its cursor and writes what they say; the cursor stands in the journal's database. MLflow may be
down for a day: nothing waits for it, and the publisher catches up. Every write can be repeated without a trace: runs are
looked up by tags before they are created, metrics carry the worker's own timestamp and step, parameters never change.
"""

import json
import logging
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.engine.events import Event, epochs_told
from orchestrator.engine.objective import objectives_of
from orchestrator.journal import Cursor, Journal
from orchestrator.places import JOURNAL_VARIABLE, TRACKING_VARIABLE, search_folder
from orchestrator.reading import RESULT, best_network
from workers.contract import JSON
from workers.picture import DRAWING, picture_key
from workers.store import open_store

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # standard output is the driver's

CONSUMER = "mlflow"
BATCH_EVENTS = 500
MAX_PARAM_CHARS = 6000  # MLflow's limit
RETRY_S = (0.5, 30.0)  # first and longest pause while MLflow does not answer
SEARCH_TAG = "segsearch.search"
TRIAL_TAG = "segsearch.trial"  # "parent" on the parent run
STATUS = {"completed": "FINISHED", "stopped": "FINISHED"}

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Published:
    """What the publisher knows between events; kept beside the cursor."""

    experiment: str = ""
    parent: str = ""
    runs: dict[int, str] = field(default_factory=dict)
    storage: str = ""
    best: float | None = None
    objective: str = "dice"
    maximize: bool = True

    def to_json(self) -> JSON:
        """All fields as JSON values."""
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "runs": {str(k): v for k, v in self.runs.items()},
        }

    @staticmethod
    def from_json(data: JSON) -> "Published":
        """Inverse of ``to_json``; an empty mapping is a fresh start."""
        return Published(**{**data, "runs": {int(k): v for k, v in data.get("runs", {}).items()}})


class Publisher:
    """Writes a search's events to MLflow, each batch followed by its cursor.

    Attributes:
        journal: Where events and the cursor are.
        search: Name of the search.
        tracking_uri: MLflow server or database.
    """

    def __init__(self, journal: Journal, search: str, tracking_uri: str) -> None:
        self.journal, self.search, self.tracking_uri = journal, search, tracking_uri
        self._client: Any = None

    def publish(self) -> int:
        """Publish everything that is not yet published; returns the number of events.

        Raises:
            MlflowException, OSError: MLflow does not answer; what is published stays published.
        """
        count = 0
        while events := self._next():
            state = Published.from_json(self.journal.cursor(self.search, CONSUMER).data)
            self._write(events, state)
            self.journal.move(self.search, CONSUMER, Cursor(events[-1].seq, state.to_json()))
            count += len(events)
        return count

    def _next(self) -> list[Event]:
        position = self.journal.cursor(self.search, CONSUMER).position
        return self.journal.read(self.search, after=position, limit=BATCH_EVENTS)

    def _write(self, events: list[Event], state: Published) -> None:
        client = self.client
        metrics: dict[str, list[Any]] = {}
        for event in events:
            handler: Callable[[Event, Published], None] | None = getattr(self, f"_on_{event.kind}", None)
            if handler is not None:
                handler(event, state)
            for body in epochs_told(event):
                run = state.runs[event.body["trial"]]
                metrics.setdefault(run, []).extend(_metrics(body))
                metrics.setdefault(state.parent, []).extend(_best(body, event.seq, state))
        for run, rows in metrics.items():
            for first in range(0, len(rows), 500):
                client.log_batch(run, metrics=rows[first : first + 500])
        for event in events:  # last, so that a run is closed after its metrics
            if event.kind == "trial_ended":
                self._close(event, state)

    @property
    def client(self) -> Any:
        """MLflow's client; imported late, as MLflow takes seconds to import."""
        if self._client is None:
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=self.tracking_uri)
        return self._client

    def _on_opened(self, event: Event, state: Published) -> None:
        job = event.body["job"]
        state.storage = search_folder(job["storage"], self.search)
        first = objectives_of(job["objectives"])[0]
        state.objective, state.maximize = first.name, first.direction == "maximize"
        name = f"segsearch/{self.search}"
        found = self.client.get_experiment_by_name(name)
        if found is None:
            place = artifact_root(self.tracking_uri, job["storage"])
            state.experiment = self.client.create_experiment(name, artifact_location=place)
        else:
            state.experiment = found.experiment_id
        state.parent = self._run(state, "parent", f"search {self.search}", event.at)
        self._params(
            state.parent,
            {
                "dataset": job["dataset"],
                "data_digest": event.body["data_digest"],
                "space": job["space"],
                "sampler": job["search"]["sampler"],
                "scheduler": job["search"]["scheduler"]["kind"],
                "seed": event.body["seed"],
            },
        )
        self.client.log_dict(state.parent, job, "job.json")

    def _on_asked(self, event: Event, state: Published) -> None:
        body = event.body
        run = self._run(state, str(body["trial"]), f"{body['trial']:03d} {body['name']}", event.at)
        state.runs[body["trial"]] = run
        facts = {
            "source": body["source"],
            "purpose": body["purpose"],
            "seed": body["seed"],
            "digest": body["digest"],
        }
        if body["parent"] is not None:
            facts |= {"parent": body["parent"]["trial"], "parent_epoch": body["parent"]["epoch"]}
        self._params(run, facts | body["profile"] | dict(flatten(body["candidate"])))
        self.client.log_dict(run, body["candidate"], "candidate.json")

    def _on_noted(self, event: Event, state: Published) -> None:
        self.client.log_dict(state.parent, event.body["data"], f"{event.body['kind']}.json")
        if event.body["kind"] == RESULT:
            best = best_network(event.body["data"])
            self._artifact(state.runs[best["trial"]], str(best["export"]), DRAWING)

    def _on_finished(self, event: Event, state: Published) -> None:
        self.client.set_tag(state.parent, "segsearch.finished", event.body["reason"])
        self.client.set_terminated(state.parent, "FINISHED", int(event.at * 1000))

    def _on_extended(self, event: Event, state: Published) -> None:
        self.client.delete_tag(state.parent, "segsearch.finished")
        self.client.update_run(state.parent, status="RUNNING")

    def _close(self, event: Event, state: Published) -> None:
        body = event.body
        run = state.runs[body["trial"]]
        self._artifact(run, state.storage, picture_key(body["trial"]), name="predictions.png")
        self.client.set_tag(run, "segsearch.verdict", body["verdict"])
        if body["message"]:
            self.client.set_tag(run, "mlflow.note.content", body["message"][:5000])
        self.client.set_terminated(run, STATUS.get(body["verdict"], "FAILED"), int(event.at * 1000))

    def _artifact(self, run: str, place: str, key: str, *, name: str = "") -> None:
        """Log a file of a storage, where it is there."""
        store = open_store(place)
        if not store.exists(key):
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / (name or key)
            path.write_bytes(store.get(key))
            self.client.log_artifact(run, str(path))

    def _run(self, state: Published, trial: str, name: str, at: float) -> str:
        """Id of the run with this tag, created where there is none."""
        filter_ = f"tags.`{SEARCH_TAG}` = '{self.search}' AND tags.`{TRIAL_TAG}` = '{trial}'"
        found = self.client.search_runs([state.experiment], filter_, max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = {SEARCH_TAG: self.search, TRIAL_TAG: trial}
        run = self.client.create_run(state.experiment, start_time=int(at * 1000), tags=tags, run_name=name)
        return str(run.info.run_id)

    def _params(self, run: str, values: JSON) -> None:
        from mlflow.entities import Param

        rows = [Param(key, str(value)[:MAX_PARAM_CHARS]) for key, value in values.items()]
        for first in range(0, len(rows), 100):
            self.client.log_batch(run, params=rows[first : first + 100])


def publish_until_stopped(journal_url: str, search: str, tracking_uri: str, *, poll_s: float = 1.0) -> None:
    """Body of the publisher process: publish, wait, repeat, until its parent is gone or asks it to end.

    The parent asks by closing the process's standard input; then what is left is published once and the process ends.
    """
    publisher = Publisher(Journal(journal_url), search, tracking_uri)
    parent = os.getppid()
    pause = RETRY_S[0]
    asked = False
    while True:
        asked = asked or _input_closed(poll_s if pause == RETRY_S[0] else pause)
        try:
            publisher.publish()
            pause = RETRY_S[0]
        except (
            Exception
        ) as error:  # whatever MLflow's client raises: it is down, and the search does not care
            _log.warning(
                "MLflow at %s does not answer (%s); trying again in %.0f s", tracking_uri, error, pause
            )
            pause = min(pause * 2, RETRY_S[1])
        if asked or os.getppid() != parent:
            return


def backlog(journal: Journal, search: str) -> int:
    """Events that are not yet published."""
    return len(journal.read(search, after=journal.cursor(search, CONSUMER).position))


def artifact_root(tracking_uri: str, storage: str) -> str | None:
    """Where artifacts of a database without a server go; a server decides by itself."""
    if tracking_uri.startswith(("http://", "https://")):
        return None
    return (
        storage.rstrip("/") + "/mlartifacts"
        if "://" in storage
        else (Path(storage) / "mlartifacts").resolve().as_uri()
    )


def analyze(tracking_uri: str) -> None:
    """Give SQLite's planner its statistics: ``search_runs`` over 10,000 runs takes 5 s without, 0.05 s with them."""
    if tracking_uri.startswith("sqlite:///"):
        path = tracking_uri.removeprefix("sqlite:///")
        if Path(path).exists():
            with sqlite3.connect(path) as connection:
                connection.execute("ANALYZE")
            connection.close()


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested JSON with dotted paths; lists of scalars stay whole."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from flatten(child, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(child, dict | list) for child in value):
        for index, child in enumerate(value):
            yield from flatten(child, f"{path}.{index}")
    else:
        yield path, json.dumps(value) if isinstance(value, list) else value


def _metrics(body: JSON) -> list[Any]:
    from mlflow.entities import Metric

    at = int(body["at"] * 1000)
    values = {"loss": body["loss"], "epoch_seconds": body["seconds"], **body["metrics"]}
    return [Metric(_metric_name(name), value, at, body["epoch"]) for name, value in values.items()]


def _metric_name(name: str) -> str:
    """MLflow allows letters, digits and ``_-. :/`` in names."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)


def _best(body: JSON, seq: int, state: Published) -> list[Any]:
    from mlflow.entities import Metric

    value = body["metrics"].get(state.objective)
    if value is None or (
        state.best is not None and (value <= state.best if state.maximize else value >= state.best)
    ):
        return []
    state.best = value
    return [Metric(f"best_{_metric_name(state.objective)}", value, int(body["at"] * 1000), seq)]


def _input_closed(timeout_s: float) -> bool:
    import select

    ready, _, _ = select.select([sys.stdin], [], [], timeout_s)
    return bool(ready) and sys.stdin.read(1) == ""


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="publisher: %(message)s")
    publish_until_stopped(os.environ[JOURNAL_VARIABLE], sys.argv[1], os.environ[TRACKING_VARIABLE])
