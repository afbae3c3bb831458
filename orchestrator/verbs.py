"""The verbs of the command line as Python functions.

from orchestrator.verbs import run, leaderboard_rows, export_trial
result = run("examples/hippocampus.yaml")
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from orchestrator.engine.engine import Engine
from orchestrator.engine.events import Event, Purpose
from orchestrator.engine.leaderboard import Row, leaderboard
from orchestrator.engine.settings import Direction
from orchestrator.engine.state import State
from orchestrator.errors import JournalError, OrchestratorError
from orchestrator.executor import Executor
from orchestrator.job import Retrain, job_from_json, load_job_document
from orchestrator.journal import Journal
from orchestrator.places import (
    DEFAULT_STORAGE,
    JOURNAL_VARIABLE,
    TRACKING_VARIABLE,
    journal_url,
    tracking_uri,
)
from orchestrator.plan import Plan, make_plan
from orchestrator.search import Watch, create_search, drive, interruptible, open_session
from orchestrator.tracking import backlog
from orchestrator.winners import RESULT, ask_retraining, export_folder, export_row, find_winner, notes
from workers.contract import JSON

ExecutorName = Literal["ray", "in-process"]
PURPOSES: tuple[Purpose, ...] = ("retrain", "search", "baseline")
DRAIN_S = 60.0  # how long the end of a driver waits for MLflow to be up to date


class NoResultError(OrchestratorError):
    """A search ended without a network that could be trained to its end."""


def validate(job_file: str | Path) -> Plan:
    """Check a job against its data set, space and machine; starts nothing.

    Raises:
        JobError: With everything that is wrong.
    """
    job, document = load_job_document(job_file)
    return make_plan(job, document)


def run(
    job_file: str | Path,
    *,
    executor: ExecutorName = "ray",
    watch: Watch | None = None,
    track: bool = True,
    go_on: bool = False,
) -> JSON:
    """Search, retrain, compare and export; returns the result.

    Args:
        job_file: The job.
        executor: ``ray``: trials side by side on a local Ray; ``in-process``: one after another here, for a debugger.
        watch: Told each event.
        track: Publish to MLflow.
        go_on: Resume where a search of this name exists, rather than refuse.

    Raises:
        JobError: The job is wrong.
        SearchExistsError: A search of this name exists.
        NoResultError: Nothing could be trained to its end.
    """
    plan = validate(job_file)
    journal = Journal(journal_url(plan.job.storage))
    if go_on and plan.job.name in journal.names():
        return resume(plan.job.name, storage=plan.job.storage, executor=executor, watch=watch, track=track)
    create_search(plan, journal)
    return _lead(plan, journal, executor=executor, watch=watch, track=track)


def resume(
    name: str,
    *,
    storage: str = DEFAULT_STORAGE,
    executor: ExecutorName = "ray",
    watch: Watch | None = None,
    track: bool = True,
) -> JSON:
    """Go on with a search where it stopped, however it stopped.

    Raises:
        UnknownSearchError: No such search in the journal.
        LedError: Another driver leads it.
        JournalError: The data set is not the one that it began with.
    """
    journal = Journal(journal_url(storage))
    plan = plan_of(journal, name)
    return _lead(plan, journal, executor=executor, watch=watch, track=track)


def searches(*, storage: str = DEFAULT_STORAGE) -> list[JSON]:
    """One row a search, as ``status`` gives it."""
    return [status(name, storage=storage) for name in Journal(journal_url(storage)).names()]


def status(name: str, *, storage: str = DEFAULT_STORAGE) -> JSON:
    """Where a search stands: state, trials, rejections by reason, best value, cost, why it finished."""
    journal = Journal(journal_url(storage))
    written = journal.read(name)
    state, direction = state_of(written)
    rows = leaderboard(state, direction)
    driver = journal.leader(name)
    best = next((row for row in rows if row.value is not None), None)
    return {
        "name": name,
        "state": "running" if driver else "finished" if is_over(written, state) else "stopped",
        "driver": None if driver is None else f"process {driver.pid} on {driver.host}",
        "trials": len(rows),
        "ended": sum(state.trials[row.trial].verdict is not None for row in rows),
        "rejected": dict(state.rejections),
        "best": None if best is None else best.value,
        "best_trial": None if best is None else best.trial,
        "worker_hours": sum(trial.cost.total for trial in state.trials) / 3600,
        "finish": state.finished,
    }


def is_over(written: list[Event], state: State) -> bool:
    """Whether nothing of a search is left to do: it was concluded, or its job or a user wants no more."""
    wants_more = written[0].body["job"]["retrain"]["top"] > 0 and not state.stop_requested
    return bool(notes(written, RESULT)) or (state.finished is not None and not wants_more)


def stop(name: str, *, storage: str = DEFAULT_STORAGE) -> bool:
    """Ask a running search to end after its epochs; False where no driver runs."""
    journal = Journal(journal_url(storage))
    journal.post(name, "stop", {"by": f"{os.environ.get('USER', 'user')}, process {os.getpid()}"})
    return journal.leader(name) is not None


def leaderboard_rows(name: str, *, storage: str = DEFAULT_STORAGE) -> list[Row]:
    """Trials of a search, best first: those retrained, then those of the search, then presets trained beside it."""
    state, direction = state_of(Journal(journal_url(storage)).read(name))
    return [row for purpose in PURPOSES for row in leaderboard(state, direction, purpose=purpose)]


def result_of(name: str, *, storage: str = DEFAULT_STORAGE) -> JSON | None:
    """The final comparison of a search, once it is there."""
    found = notes(Journal(journal_url(storage)).read(name), RESULT)
    return found[-1] if found else None


def retrain(
    name: str,
    *,
    top: int = 3,
    epochs: int | None = None,
    seeds: int = 1,
    storage: str = DEFAULT_STORAGE,
    executor: ExecutorName = "ray",
    watch: Watch | None = None,
) -> list[Row]:
    """Train the best candidates of a search anew; the rows of these trials.

    Raises:
        UnknownSearchError: No such search in the journal.
        LedError: A driver leads it; wait for its end.
    """
    journal = Journal(journal_url(storage))
    plan = plan_of(journal, name)
    with (
        interruptible(),
        _publishing(plan, journal, track=True),
        _executor(executor, plan) as place,
        open_session(plan, journal, place, watch or _unwatched) as session,
    ):
        trials = ask_retraining(session, Retrain(top=top, epochs=epochs, seeds=seeds))
        drive(session)
        return [row for row in session.rows("retrain") if row.trial in trials]


def export_trial(
    name: str,
    *,
    trial: int | None = None,
    out: Path | None = None,
    raw: Path | None = None,
    storage: str = DEFAULT_STORAGE,
) -> Path:
    """Export a trial's network, by default the best one, and prove it.

    Raises:
        ExportError: The proof fails, or the folder exists.
        JournalError: No such trial, or it has no checkpoint.
    """
    journal = Journal(journal_url(storage))
    plan = plan_of(journal, name)
    rows = [row for row in leaderboard_rows(name, storage=storage) if row.checkpoint is not None]
    if trial is not None:
        rows = [row for row in rows if row.trial == trial]
    if not rows:
        what = "a trial" if trial is None else f"trial {trial}"
        raise JournalError(
            f"search {name!r} has no checkpoint of {what}; 'segsearch leaderboard {name}' lists its trials."
        )
    folder = out or export_folder(plan.job.storage, name, rows[0].trial)
    export_row(plan, journal, rows[0], folder, raw=raw)
    return folder


def plan_of(journal: Journal, name: str) -> Plan:
    """The plan of a search that stands in the journal.

    Raises:
        JournalError: Its data set is not the one that it began with.
    """
    opened = journal.read(name, limit=1)[0]
    plan = make_plan(job_from_json(opened.body["job"]))
    if plan.dataset.digest != opened.body["data_digest"]:
        raise JournalError(
            f"search {name!r} began on data {opened.body['data_digest'][:12]}, but {plan.job.dataset} now holds "
            f"{plan.dataset.digest[:12]}; results on different data cannot stand in one search: begin a new one."
        )
    return plan


def state_of(written: list[Event]) -> tuple[State, Direction]:
    """The state of a search folded from its events, without its data set or space."""
    objectives = written[0].body["job"]["objectives"]
    direction: Direction = "maximize" if objectives.get("maximize") else "minimize"
    state = State(objectives[direction][0])
    for event in written:
        state.apply(event)
    return state, direction


def _lead(plan: Plan, journal: Journal, *, executor: ExecutorName, watch: Watch | None, track: bool) -> JSON:
    if executor == "in-process":
        plan = replace(plan, settings=replace(plan.settings, slots=1))
    with (
        interruptible(),
        _publishing(plan, journal, track=track),
        _executor(executor, plan) as place,
        open_session(plan, journal, place, watch or _unwatched) as session,
    ):
        drive(session)
        result = find_winner(session)
    if result is None and plan.job.retrain.top > 0 and not session.engine.state.stop_requested:
        raise NoResultError(
            f"search {plan.job.name!r} ended ({session.engine.state.finished}) without a network trained to its end; "
            f"'segsearch leaderboard {plan.job.name}' tells why, a larger budget helps."
        )
    return result or {}


@contextmanager
def _executor(name: ExecutorName, plan: Plan) -> Iterator[Executor]:
    place: Executor
    if name == "ray":
        from orchestrator.executors.ray_tune import RayTuneExecutor

        place = RayTuneExecutor(slots=plan.settings.slots, slot_cpus=plan.threads)
    else:
        from orchestrator.executors.in_process import InProcessExecutor
        from workers.leg import run_leg

        place = InProcessExecutor(run_leg)
    try:
        yield place
    finally:
        place.close()


@contextmanager
def _publishing(plan: Plan, journal: Journal, *, track: bool) -> Iterator[None]:
    """A publisher process beside the driver; at the end it publishes what is left."""
    if not track:
        yield
        return
    uri = tracking_uri(plan.job.storage)
    command = [sys.executable, "-m", "orchestrator.tracking", plan.job.name]
    places = {
        JOURNAL_VARIABLE: journal.url,
        TRACKING_VARIABLE: uri,
    }  # not in the command line: they may hold passwords
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, **places})
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(DRAIN_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        if behind := backlog(journal, plan.job.name):
            print(f"MLflow is {behind} events behind; 'segsearch ui' publishes them.", file=sys.stderr)


def _unwatched(_event: Any, _engine: Engine) -> None:
    return None
