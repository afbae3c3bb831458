"""What the journal says of searches, without their data sets or spaces; light enough to be asked often."""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from orchestrator.collector import unhurried_collector
from orchestrator.duration import duration_s
from orchestrator.engine.events import Event, Purpose, epochs_told
from orchestrator.engine.leaderboard import Row, hypervolume_over_time, knee_point, leaderboard, pareto_front
from orchestrator.engine.objective import objectives_of
from orchestrator.engine.state import State
from orchestrator.errors import ExtensionError, UnknownTrialError
from orchestrator.journal import Journal
from orchestrator.places import DEFAULT_STORAGE, journal_url
from orchestrator.progress import describe
from workers.contract import JSON

PURPOSES: tuple[Purpose, ...] = ("retrain", "search", "baseline")
PROBE = " (probe)"  # ends the name of a trial that only tells what an epoch costs
RESULT = "result"
EVIDENCE = "evidence"  # note of what a search was given of others
LOG_POLL_S = 1.0


def searches(*, storage: str = DEFAULT_STORAGE) -> list[JSON]:
    """One row a search, as ``status`` gives it."""
    return [status(name, storage=storage) for name in Journal(journal_url(storage)).names()]


def status(name: str, *, storage: str = DEFAULT_STORAGE) -> JSON:
    """Where a search stands: state, trials, rejections by reason, best value, cost, why it finished."""
    journal = Journal(journal_url(storage))
    written = journal.read(name)
    state = state_of(written)
    rows = leaderboard(state)
    driver = journal.leader(name)
    best = next((row for row in rows if row.value is not None), None)
    return {
        "name": name,
        "state": "running" if driver else resting(written, state),
        "driver": None if driver is None else f"process {driver.pid} on {driver.host}",
        "trials": len(rows),
        "ended": sum(state.trials[row.trial].verdict is not None for row in rows),
        "rejected": dict(state.rejections),
        "best": None if best is None else best.value,
        "best_trial": None if best is None else best.trial,
        "worker_hours": sum(trial.cost.total for trial in state.trials) / 3600,
        "finish": state.finished,
    }


def is_finished(name: str, *, storage: str = DEFAULT_STORAGE) -> bool:
    """Whether nothing of a search is left to do, and no driver runs it."""
    journal = Journal(journal_url(storage))
    written = journal.read(name)
    return journal.leader(name) is None and is_over(written, state_of(written))


def resting(written: list[Event], state: State) -> str:
    """What a search is that no driver leads: ``finished``, ``paused`` by a user, or ``interrupted``."""
    if is_over(written, state):
        return "finished"
    for event in reversed(written):
        if event.kind == "leading":
            break
        if event.kind == "noted" and event.body["kind"] == "pause":
            return "paused"
    return "interrupted"


def is_over(written: list[Event], state: State) -> bool:
    """Whether nothing of a search is left to do: it was concluded, or its job or a user wants no more."""
    wants_more = written[0].body["job"]["retrain"]["top"] > 0 and not state.stop_requested
    return latest_result(written) is not None or (state.finished is not None and not wants_more)


def ask(name: str, verb: Literal["stop", "pause", "cancel"], *, storage: str = DEFAULT_STORAGE) -> bool:
    """Ask the driver of a search for something; False where no driver runs.

    Args:
        name: The search.
        verb: ``stop`` ends it for good after its running epochs; ``pause`` ends its driver after them, and it can be resumed;
            ``cancel`` ends it for good at once. Without a driver, the next one hears of ``stop`` and ``cancel``.
        storage: Folder with the journal, where ``SEGSEARCH_JOURNAL`` is not set.

    Raises:
        UnknownSearchError: No such search in the journal.
    """
    journal = Journal(journal_url(storage))
    is_led = journal.leader(name) is not None
    if is_led or verb != "pause":
        journal.post(name, verb, {"by": _who()})
    return is_led


def log_lines(name: str, *, go_on: bool = False, storage: str = DEFAULT_STORAGE) -> Iterator[str]:
    """What happened in a search, a line an event; with ``go_on`` until no driver leads it any more.

    Raises:
        UnknownSearchError: No such search in the journal.
    """
    journal = Journal(journal_url(storage))
    state = state_of(journal.read(name, limit=1))
    while True:
        led = journal.leader(name) is not None
        for event in journal.read(name, after=state.seq):
            state.apply(event)
            if line := describe(event, state):
                yield f"{datetime.fromtimestamp(event.at, UTC):%Y-%m-%d %H:%M:%S} {line}"
        if not go_on or not led:
            return
        time.sleep(LOG_POLL_S)


@dataclass(frozen=True, slots=True)
class Board:
    """What a search found, as its journal stood at one moment.

    Attributes:
        written: The journal.
        state: Folded from it.
        rows: Its trials, best first: those retrained, then those of the search, then presets trained beside it.
    """

    written: list[Event]
    state: State
    rows: tuple[Row, ...]

    @property
    def result(self) -> JSON | None:
        """The final comparison, once it is there."""
        return latest_result(self.written)

    def front(self) -> JSON | None:
        """The front of a search with several objectives, and its knee, as trial numbers; None with one, or without a front."""
        searched = [row for row in self.rows if row.purpose == "search"]
        front, middle = pareto_front(searched), knee_point(searched)
        if middle is None or len(middle.scores or ()) < 2:
            return None
        return {"trials": [row.trial for row in front], "knee": middle.trial}

    def growth(self) -> JSON:
        """How the hypervolume grew.

        ``reference`` is the corner it is counted from, by objective: 0 for a metric that is maximised, the job's limit for a
        cost, and where there is neither, the worst value of any epoch. ``grown`` are pairs of seconds since the search was
        opened and the hypervolume from then on.
        """
        objectives, constraints = self.state.objectives, self.written[0].body["job"]["constraints"]
        scores = [score for trial in self.state.of("search") for score in trial.scores.values()]
        corner = []
        for place, objective in enumerate(objectives):
            limit = None if objective.is_learned else constraints.get(objective.name)
            bound = 0.0 if objective.is_learned and objective.direction == "maximize" else limit
            worst = min((score[place] for score in scores), default=0.0)
            corner.append(worst if bound is None else objective.score(bound))
        grown = hypervolume_over_time(self.written, objectives, tuple(corner))
        reference = {o.name: o.score(value) for o, value in zip(objectives, corner, strict=True)}
        return {
            "reference": reference,
            "grown": [(at - self.written[0].at, volume) for at, volume in grown],
        }


def leaderboard_of(name: str, *, storage: str = DEFAULT_STORAGE) -> Board:
    """The leaderboard of a search, its front and its final comparison.

    Raises:
        UnknownSearchError: No such search in the journal.
    """
    with unhurried_collector():
        written = Journal(journal_url(storage)).read(name)
        state = state_of(written)
        return Board(
            written, state, tuple(row for purpose in PURPOSES for row in leaderboard(state, purpose=purpose))
        )


def state_of(written: list[Event]) -> State:
    """The state of a search folded from its events, without its data set or space."""
    state = State(objectives_of(written[0].body["job"]["objectives"]))
    state.catch_up(written)
    return state


def best_network(result: JSON) -> JSON:
    """What a final comparison hands over: trial, name and export; in results of older versions the winner."""
    found: JSON = result.get("best") or result["winner"]
    return found


def candidate_of(name: str, trial: int, *, storage: str = DEFAULT_STORAGE) -> JSON:
    """What the journal knows of a trial: its candidate, name and digest.

    Raises:
        UnknownSearchError: No such search in the journal.
        UnknownTrialError: The search has no such trial.
    """
    asked = [event.body for event in Journal(journal_url(storage)).read(name) if event.kind == "asked"]
    for body in asked:
        if body["trial"] == trial:
            return {key: body[key] for key in ("name", "digest", "candidate")}
    raise UnknownTrialError(f"{name} has no trial {trial}; there are {len(asked)}, from 0.")


def epoch_bodies(written: Iterable[Event]) -> dict[int, list[JSON]]:
    """What each epoch of each trial gave, those of a training that was taken over included."""
    found: dict[int, list[JSON]] = {}
    for event in written:
        if told := epochs_told(event):
            found.setdefault(event.body["trial"], []).extend(told)
    return found


def latest_result(written: Iterable[Event]) -> JSON | None:
    """The final comparison, where the search was not extended after it."""
    found: JSON | None = None
    for event in written:
        if event.kind == "extended":
            found = None
        elif event.kind == "noted" and event.body["kind"] == RESULT:
            found = dict(event.body["data"])
    return found


def extend(
    name: str,
    *,
    trials: int = 0,
    wall: str | None = None,
    worker_hours: float = 0.0,
    storage: str = DEFAULT_STORAGE,
) -> bool:
    """Give a search more to spend; False where no driver runs, so that the next ``resume`` hears of it.

    Args:
        name: The search.
        trials: More trials.
        wall: More wall time, such as ``2h``.
        worker_hours: More worker hours.
        storage: Folder with the journal, where ``SEGSEARCH_JOURNAL`` is not set.

    Raises:
        UnknownSearchError: No such search in the journal.
        ExtensionError: It was ended for good, nothing is added, or ``wall`` is no time.
    """
    journal = Journal(journal_url(storage))
    state = state_of(journal.read(name))
    if state.stop_requested:
        raise ExtensionError(f"search {name!r} was ended for good by a user; begin a new one.")
    try:
        wall_s = duration_s(wall) if wall else 0.0
    except ValueError as error:
        raise ExtensionError(f"wall: {error}") from None
    more = {"trials": trials, "wall_s": wall_s, "worker_hours": worker_hours}
    if not any(value > 0 for value in more.values()) or min(more.values()) < 0:
        raise ExtensionError("nothing is added; give --trials, --wall or --worker-hours, each above 0.")
    journal.post(name, "extend", {**more, "by": _who()})
    return journal.leader(name) is not None


def _who() -> str:
    return f"{os.environ.get('USER', 'user')}, process {os.getpid()}"
