"""Leading a search: the executor, the publisher and the session that a driver holds while it works."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.engine.engine import Engine
from orchestrator.engine.events import Draft
from orchestrator.engine.state import State
from orchestrator.errors import OrchestratorError, PlaceError
from orchestrator.executor import Executor
from orchestrator.journal import Journal
from orchestrator.places import JOURNAL_VARIABLE, TRACKING_VARIABLE, journal_fault, tracking_uri
from orchestrator.plan import Plan
from orchestrator.search import (
    SearchPaused,
    Session,
    Watch,
    create_search,
    drive,
    interruptible,
    open_session,
)
from orchestrator.slots import Node, Slots, this_machine
from orchestrator.tracking import backlog
from orchestrator.winners import find_winner
from workers.contract import JSON
from workers.location import has_scheme
from workers.reach import code_of_this_process, leave_mark, remove_marks

DRAIN_S = 60.0  # how long the end of a driver waits for MLflow to be up to date


class NoResultError(OrchestratorError):
    """A search ended without a network that could be trained to its end."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a driver lets legs run, and what it does beside.

    Attributes:
        cluster: Address of a running Ray cluster; None for a Ray of its own on this machine.
        in_process: One leg after another in this process, without Ray.
        watch: Told each event.
        track: Whether to publish to MLflow.
    """

    cluster: str | None = None
    in_process: bool = False
    watch: Watch | None = None
    track: bool = True

    def nodes(self) -> tuple[Node, ...]:
        """The machines that legs may run on; joins the cluster.

        Raises:
            ExecutorError: The cluster does not answer.
        """
        if self.cluster is None:
            return this_machine()
        from orchestrator.executors.ray_tune import join

        return join(self.cluster)


def lead(plan: Plan, journal: Journal, place: Place, *, create: bool, evidence: Sequence[Draft] = ()) -> JSON:
    """Search, retrain, compare and export; the result, empty where a user paused or stopped the search.

    Args:
        plan: What to do.
        journal: Where it is remembered.
        place: Where legs run.
        create: Whether the search begins; else it goes on.
        evidence: What a search that begins knows from others.

    Raises:
        SearchExistsError: It shall begin and its name is taken.
        StoreError: The storage cannot be written; nothing was.
        PlaceError: A node of the cluster does not reach what legs need; nothing was written.
        NoResultError: Nothing could be trained to its end.
    """
    if place.in_process:
        settings = replace(plan.settings, slots=1)
        plan = replace(plan, settings=settings, slots=Slots(1, plan.slots.threads, plan.slots.device))
    with led(plan, journal, place, create=create, evidence=evidence) as session:
        try:
            drive(session)
            result = find_winner(session)
        except SearchPaused:
            return {}
    if result is None and plan.job.retrain.top > 0 and not session.engine.state.stop_requested:
        raise NoResultError(
            f"search {plan.job.name!r} ended ({session.engine.state.finished}) without a network trained to its end"
            f"{_beyond(session.engine.state)}; 'segsearch leaderboard {plan.job.name}' tells why."
        )
    return result or {}


@contextmanager
def led(
    plan: Plan, journal: Journal, place: Place, *, create: bool = False, evidence: Sequence[Draft] = ()
) -> Iterator[Session]:
    """A session with its executor and publisher; everything ends with it."""
    if place.cluster is not None and (fault := journal_fault(plan.job.storage, nodes=plan.slots.nodes)):
        raise PlaceError(fault)
    # Else each leg would find out; a cluster's nodes are asked.
    if place.cluster is None and has_scheme(plan.storage):
        remove_marks(plan.storage, leave_mark(plan.storage))
    with interruptible(), _executor(plan, place) as executor:
        if create:
            create_search(plan, journal, evidence=evidence)
        with (
            _publishing(plan, journal, track=place.track),
            open_session(plan, journal, executor, place.watch or _unwatched) as session,
        ):
            yield session


@contextmanager
def _executor(plan: Plan, place: Place) -> Iterator[Executor]:
    if place.in_process:
        from orchestrator.executors.in_process import InProcessExecutor
        from workers.leg import run_leg

        here = InProcessExecutor(run_leg)
        try:
            yield here
        finally:
            here.close()
        return
    from orchestrator.executors.ray_fleet import Reach
    from orchestrator.executors.ray_tune import RayTuneExecutor

    slots, reach = plan.slots, None
    if place.cluster is not None:
        reach = Reach(plan.view, plan.storage, leave_mark(plan.storage), code_of_this_process())
    ray = RayTuneExecutor(
        slots=slots.count,
        slot_cpus=slots.threads,
        slot_gpus=1 / slots.per_card if slots.device == "cuda" else 0,
        reach=reach,
    )
    try:
        if reach is not None:
            ray.open()  # before anything is written: a node may not reach what it needs
        yield ray
    finally:
        ray.close()
        if reach is not None:
            remove_marks(reach.storage, reach.mark)


@contextmanager
def _publishing(plan: Plan, journal: Journal, *, track: bool) -> Iterator[None]:
    """A publisher process beside the driver; at the end it publishes what is left."""
    if not track:
        yield
        return
    uri = tracking_uri(plan.job.storage)
    command = [sys.executable, "-P", "-m", "orchestrator.tracking", plan.job.name]
    # Not in the command line: they may hold passwords.
    places = {JOURNAL_VARIABLE: journal.url, TRACKING_VARIABLE: uri}
    quiet = {"MLFLOW_LOGGING_LEVEL": "WARNING"}  # making its tables is nothing to a user
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env={**quiet, **os.environ, **places})
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


def _beyond(state: State) -> str:
    """How many trials ended beyond a limit that only epochs tell, and the closest of them."""
    beyond = [trial for trial in state.searched if trial.violation]
    if not beyond:
        return ""
    closest = min(beyond, key=lambda trial: trial.violation)
    return (
        f" ({len(beyond)} of {len(state.searched)} trials were beyond a limit, the closest: {closest.halted})"
    )
