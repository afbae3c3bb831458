"""What a search knows: a fold over its events, and nothing that is not in them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from orchestrator.engine.events import Event, Finish, Purpose, Source, Verdict
from orchestrator.errors import ReplayError
from workers.contract import JSON

if TYPE_CHECKING:
    from search_spaces.space import Trace

Status = Literal[
    "waiting", "running", "paused", "completed", "stopped", "diverged", "out_of_memory", "failed"
]


@dataclass(slots=True)
class Cost:
    """Worker-seconds: share x wall seconds of every attempt.

    Attributes:
        work: Epochs that were reported.
        startup: The rest of legs that ended as planned: loading data, building, restoring.
        lost: The rest of legs that broke down or whose driver died: work that nobody can use.
    """

    work: float = 0.0
    startup: float = 0.0
    lost: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.work + self.startup + self.lost


@dataclass(slots=True)
class RunningLeg:
    """A leg in the hands of an executor; ``worked_s`` are the wall seconds of its reported epochs."""

    fence: int
    last_epoch: int
    started: float
    worked_s: float = 0.0


@dataclass(slots=True)
class Trial:
    """One candidate with one seed; the first fields are its ``asked`` event.

    Attributes:
        allowed: Epochs to which it may train: the rung it was promoted to, or its full length.
        epoch: Epochs done and reported.
        checkpoint: Location of the checkpoint at ``epoch``.
        values: The objective by epoch, as the worker measured it; an epoch without a defined value is absent.
        leg: The leg that runs now.
        failures: Failed legs since the last reported epoch.
        memory_failures: Legs that ran out of memory.
        cost: Worker-seconds so far, without the running leg's current epoch.
    """

    number: int
    name: str
    candidate: JSON
    digest: str
    trace: "Trace"
    seed: int
    source: Source
    purpose: Purpose
    max_epochs: int
    profile: dict[str, float]
    share: float
    allowed: int
    epoch: int = 0
    checkpoint: str | None = None
    values: dict[int, float] = field(default_factory=dict)
    leg: RunningLeg | None = None
    failures: int = 0
    memory_failures: int = 0
    verdict: Verdict | None = None
    message: str = ""
    cost: Cost = field(default_factory=Cost)

    @property
    def status(self) -> Status:
        """The verdict, or what the trial does until it has one; ``waiting`` trials have a leg to hand out."""
        if self.verdict is not None:
            return self.verdict
        if self.leg is not None:
            return "running"
        return "waiting" if self.epoch < self.allowed else "paused"

    @property
    def value(self) -> float | None:
        """The objective after the last reported epoch."""
        return self.values.get(self.epoch)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A proposal that was turned down; ``violation`` is its relative excess, 0 for a duplicate."""

    trace: "Trace"
    violation: float


class State:
    """The fold.

    Args:
        objective: Name of the metric that is searched for.

    Attributes:
        trials: All trials by number, those of retraining included.
        proposals: Trials of the search and rejected proposals in order of proposal.
        rejections: Rejected proposals by reason; constraints as ``constraint:<name>``.
        refused: Results of legs that were no longer theirs.
        rejected_in_row: Rejected proposals since the last trial of the search was asked.
        fence: Number of the newest leg.
        finished: Why the search ended; None while it goes on.
    """

    def __init__(self, objective: str) -> None:
        self.objective = objective
        self.seq = 0
        self.trials: list[Trial] = []
        self.proposals: list[Trial | Rejected] = []
        self.presets: set[str] = set()
        self.digests: dict[str, int] = {}
        self.rejections: Counter[str] = Counter()
        self.rejected_in_row = 0
        self.refused = 0
        self.fence = 0
        self.stop_requested = False
        self.finished: Finish | None = None
        self._led_since: float | None = None
        self._led_before_s = 0.0
        self._last_at = 0.0

    def apply(self, event: Event) -> None:
        """Fold one event.

        Raises:
            ReplayError: The event does not follow the ones before it.
        """
        if event.seq != self.seq + 1:
            raise ReplayError(
                f"journal: event {event.seq} follows event {self.seq}; the journal misses events, or holds one twice."
            )
        match event.kind:
            case "leading":
                self._lead(event.at)
            case "asked":
                self._ask(event.body)
            case "rejected":
                self._reject(event.body)
            case "leg_started":
                self._start_leg(event.body, event.at)
            case "epoch":
                self._report(event)
            case "leg_ended":
                self._end_leg(event)
            case "promoted":
                self.trial(event).allowed = event.body["to_epoch"]
            case "trial_ended":
                trial = self.trial(event)
                trial.verdict, trial.message = event.body["verdict"], event.body["message"]
            case "refused":
                self.refused += 1
            case "stop_requested":
                self.stop_requested = True
            case "finished":
                self._led_before_s, self._led_since = self.wall_s(event.at), None
                self.finished = event.body["reason"]
            case "opened" | "noted":
                pass
            case _:
                raise ReplayError(
                    f"journal: event {event.seq} has the unknown kind {event.kind!r}; update segsearch."
                )
        self.seq = event.seq
        self._last_at = event.at

    def trial(self, event: Event) -> Trial:
        """The trial that an event is about."""
        number = event.body["trial"]
        if not 0 <= number < len(self.trials):
            raise ReplayError(
                f"journal: event {event.seq} ({event.kind}) names trial {number}, which was never asked."
            )
        return self.trials[number]

    def of(self, purpose: Purpose) -> Iterator[Trial]:
        """Trials of one purpose, in order."""
        return (trial for trial in self.trials if trial.purpose == purpose)

    def running_share(self) -> float:
        """Slots that running legs take."""
        return sum(trial.share for trial in self.trials if trial.leg is not None)

    def wall_s(self, now: float) -> float:
        """Seconds during which a driver led the search, until it finished."""
        return self._led_before_s + (0.0 if self._led_since is None else max(0.0, now - self._led_since))

    def spent_s(self, now: float, purpose: Purpose = "search") -> float:
        """Worker-seconds of a purpose, the current epochs of running legs included."""
        total = 0.0
        for trial in self.of(purpose):
            total += trial.cost.total
            if trial.leg is not None:
                total += trial.share * max(0.0, now - trial.leg.started - trial.leg.worked_s)
        return total

    def _lead(self, at: float) -> None:
        # A driver that died is charged until the last thing it wrote.
        self._led_before_s = self.wall_s(self._last_at)
        self._led_since = at if self.finished is None else None
        for trial in self.trials:
            if trial.leg is not None:
                rest = self._last_at - trial.leg.started - trial.leg.worked_s
                trial.cost.lost += trial.share * max(0.0, rest)
                trial.leg = None

    def _ask(self, body: JSON) -> None:
        if body["trial"] != len(self.trials):
            raise ReplayError(f"journal: trial {body['trial']} was asked where {len(self.trials)} was next.")
        fields = {name: body[name] for name in _ASKED}
        trial = Trial(number=body["trial"], allowed=body["to_epoch"], **fields)
        self.trials.append(trial)
        if trial.purpose == "search":
            self.proposals.append(trial)
            self.digests[trial.digest] = trial.number
            self.rejected_in_row = 0
        if trial.source == "preset":
            self.presets.add(trial.name)

    def _reject(self, body: JSON) -> None:
        reason = f"constraint:{body['limit']}" if body["reason"] == "constraint" else body["reason"]
        self.rejections[reason] += 1
        violation = 0.0 if reason == "duplicate" else 1.0
        if body["value"] is not None and body["allowed"]:
            violation = body["value"] / body["allowed"] - 1.0
        self.proposals.append(Rejected(body["trace"], violation))
        self.rejected_in_row += 1
        if body["source"] == "preset":
            self.presets.add(body["name"])

    def _start_leg(self, body: JSON, at: float) -> None:
        self.trials[body["trial"]].leg = RunningLeg(body["fence"], body["last_epoch"], at)
        self.fence = body["fence"]

    def _report(self, event: Event) -> None:
        trial, body = self.trial(event), event.body
        leg = self._current_leg(trial, event)
        leg.worked_s += body["seconds"]
        trial.cost.work += trial.share * body["seconds"]
        trial.epoch, trial.checkpoint, trial.failures = body["epoch"], body["checkpoint"], 0
        value = body["metrics"].get(self.objective)
        if value is not None:
            trial.values[trial.epoch] = value

    def _end_leg(self, event: Event) -> None:
        trial, body = self.trial(event), event.body
        leg = self._current_leg(trial, event)
        rest = trial.share * max(0.0, body["seconds"] - leg.worked_s)
        if body["status"] in ("completed", "stopped"):
            trial.cost.startup += rest
        else:
            trial.cost.lost += rest
        trial.failures += body["status"] == "failed"
        trial.memory_failures += body["status"] == "out_of_memory"
        trial.leg = None

    def _current_leg(self, trial: Trial, event: Event) -> RunningLeg:
        if trial.leg is None or trial.leg.fence != event.body["fence"]:
            raise ReplayError(
                f"journal: event {event.seq} ({event.kind}) belongs to leg {event.body['fence']} of trial "
                f"{trial.number}, which does not run."
            )
        return trial.leg


_ASKED = (
    "name", "candidate", "digest", "trace", "seed", "source", "purpose", "max_epochs", "profile", "share",
)  # fmt: skip
