"""What a search knows: a fold over its events, and nothing that is not in them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.engine.events import NOT_PROMOTED, SEARCH_ENDED, Event, Finish, Purpose
from orchestrator.engine.evidence import Evidence, Shelf
from orchestrator.engine.inheritance import Heirs
from orchestrator.engine.ledger import Ledger
from orchestrator.engine.objective import Objective, Vector, vector_of
from orchestrator.engine.trial import Parent, RunningLeg, Trial
from orchestrator.errors import ReplayError
from workers.contract import INHERITED, JSON

if TYPE_CHECKING:
    from search_spaces.space import Trace


@dataclass(slots=True)
class Extension:
    """What users added to the budget of the job."""

    trials: int = 0
    wall_s: float = 0.0
    worker_hours: float = 0.0


@dataclass(frozen=True, slots=True)
class Rejected:
    """A proposal that was turned down: its relative excess, 0 for a duplicate, and its zero-cost score if that was why."""

    trace: "Trace"
    violation: float
    score: float | None = None


class State:
    """The fold.

    Args:
        objectives: What is searched for, the learned ones first.

    Attributes:
        trials: All trials by number, those of retraining included.
        proposals: Trials of the search and rejected proposals in order of proposal.
        searched: Trials that the search proposed, in order; repeats are not among them.
        repeats: Trials that repeat a candidate, by its digest.
        rejections: Rejected proposals by reason; constraints as ``constraint:<name>``.
        evidence: What other searches found, and what of it is the same training as here.
        closest: Of the proposals that a limit turned down, the lowest number, by the limit's name.
        refused: Results of legs that were no longer theirs.
        rejected_in_row: Rejected proposals since the last trial of the search was asked.
        fence: Number of the newest leg.
        finished: Why the search ended; None while it goes on.
        extension: What was added to the job's budget.
        ledger: What runs, waits and was spent.
        heirs: Which checkpoints of other trials are waited for.
        failed_alike: Trials in a row that failed for one reason while none trained an epoch, and the reason.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = tuple(objectives)
        self.seq = 0
        self.trials: list[Trial] = []
        self.proposals: list[Trial | Rejected] = []
        self.presets: set[str] = set()
        self.evidence = Shelf()
        self.digests: dict[str, int] = {}
        self.searched: list[Trial] = []
        self.repeats: dict[str, list[Trial]] = {}
        self.rejections: Counter[str] = Counter()
        self.closest: dict[str, float] = {}
        self.rejected_in_row = 0
        self.refused = 0
        self.fence = 0
        self.stop_requested = False
        self.finished: Finish | None = None
        self.extension = Extension()
        self.ledger = Ledger()
        self.heirs = Heirs()
        self.failed_alike: tuple[int, str] = (0, "")
        self._led_since: float | None = None
        self._led_before_s = 0.0
        self._last_at = 0.0

    def apply(self, event: Event) -> list[Trial]:
        """Fold one event; the trials that it changed.

        Raises:
            ReplayError: The event does not follow the ones before it.
        """
        changed = self._fold(event)
        for trial in changed:
            self.ledger.update(trial)
            self.heirs.update(trial)
        return changed

    def catch_up(self, written: Iterable[Event]) -> None:
        """Fold many events for somebody who only looks.

        The ledger hears of each trial once, at the end: it says the same as after ``apply`` but for the last digits of
        its sums, on which a driver's decisions hang.

        Raises:
            ReplayError: As ``apply``.
        """
        changed: dict[int, Trial] = {}
        for event in written:
            for trial in self._fold(event):
                changed[trial.number] = trial
        for trial in changed.values():
            self.ledger.update(trial)

    def _fold(self, event: Event) -> list[Trial]:
        if event.seq != self.seq + 1:
            raise ReplayError(
                f"journal: event {event.seq} follows event {self.seq}; the journal misses events, or holds one twice."
            )
        changed: list[Trial] = []
        match event.kind:
            case "opened":
                self.evidence.begin(event.body)
            case "evidence":
                self._learn(event.body)
            case "leading":
                changed = self._lead(event.at)
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
            case "halted":
                trial = self.trial(event)
                trial.halted, trial.allowed = event.body["reason"], event.body["epoch"]
                trial.violation = event.body["violation"]
            case "reused":
                self._reuse(event)
            case "trial_ended":
                trial = self.trial(event)
                trial.verdict, trial.message = event.body["verdict"], event.body["message"]
                if trial.verdict == "failed":
                    count, reason = self.failed_alike
                    own = trial.message.partition("\n")[0]
                    self.failed_alike = (count + 1 if own == reason else 1, own)
            case "refused":
                self.refused += 1
            case "stop_requested":
                self.stop_requested = True
            case "finished":
                self._led_before_s, self._led_since = self.wall_s(event.at), None
                self.finished = event.body["reason"]
            case "extended":
                changed = self._extend(event)
            case "noted":
                pass
            case _:
                raise ReplayError(
                    f"journal: event {event.seq} has the unknown kind {event.kind!r}; update segsearch."
                )
        if event.kind in _ABOUT_A_TRIAL:
            changed = [self.trial(event)]
        self.seq = event.seq
        self._last_at = event.at
        return changed

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
        return self.ledger.share()

    def vector(
        self, trial: Trial, *, epoch: int, metrics: Mapping[str, float], train_s: float
    ) -> Vector | None:
        """Scores of a trial's next epoch, of which a worker reports these metrics and seconds of training."""
        worker_s = (trial.trained_s + trial.share * train_s) / epoch * trial.max_epochs
        costs = {**trial.profile, "worker_seconds": worker_s}
        if "latency_ms" in metrics:
            costs["latency_ms"] = metrics["latency_ms"]
        return vector_of(self.objectives, metrics, costs)

    def wall_s(self, now: float) -> float:
        """Seconds during which a driver led the search, until it finished."""
        return self._led_before_s + (0.0 if self._led_since is None else max(0.0, now - self._led_since))

    def spent_s(self, now: float, purpose: Purpose = "search") -> float:
        """Worker-seconds of a purpose, the current epochs of running legs included."""
        return self.ledger.spent_s(now, purpose)

    def _lead(self, at: float) -> list[Trial]:
        self.failed_alike = (0, "")  # what was wrong may be mended
        # A driver that died is charged until the last thing it wrote.
        self._led_before_s = self.wall_s(self._last_at)
        self._led_since = at if self.finished is None else None
        lost = []
        for trial in self.trials:
            if trial.leg is not None:
                rest = self._last_at - trial.leg.started - trial.leg.worked_s
                trial.cost.lost += trial.share * max(0.0, rest)
                trial.leg = None
                lost.append(trial)
        return lost

    def _extend(self, event: Event) -> list[Trial]:
        for name in ("trials", "wall_s", "worker_hours"):
            setattr(self.extension, name, getattr(self.extension, name) + event.body[name])
        self.rejected_in_row, self.failed_alike = 0, (0, "")
        if self.finished is None:
            return []
        self.finished, self._led_since = None, event.at
        left = [
            t
            for t in self.of("search")
            if t.verdict == "stopped" and t.message in (NOT_PROMOTED, SEARCH_ENDED)
        ]
        for trial in left:
            trial.verdict, trial.message = None, ""
        return left

    def _ask(self, body: JSON) -> None:
        if body["trial"] != len(self.trials):
            raise ReplayError(f"journal: trial {body['trial']} was asked where {len(self.trials)} was next.")
        fields = {name: body[name] for name in _ASKED}
        fields["parent"] = Parent(**body["parent"]) if body["parent"] else None
        trial = Trial(number=body["trial"], allowed=body["to_epoch"], **fields)
        self.trials.append(trial)
        if trial.is_repeat:
            self.repeats.setdefault(trial.digest, []).append(trial)
        elif trial.purpose == "search":
            self.searched.append(trial)
            self.proposals.append(trial)
            self.digests.setdefault(trial.digest, trial.number)  # earlier versions trained some twice
            self.rejected_in_row = 0
        if trial.source == "preset":
            self.presets.add(trial.name)

    def _reject(self, body: JSON) -> None:
        reason = f"constraint:{body['limit']}" if body["reason"] == "constraint" else body["reason"]
        self.rejections[reason] += 1
        violation = 0.0 if reason == "duplicate" else 1.0
        if body["reason"] == "constraint" and body["allowed"]:
            violation = body["value"] / body["allowed"] - 1.0
            self.closest[body["limit"]] = min(body["value"], self.closest.get(body["limit"], body["value"]))
        score = body["value"] if reason == "score" else None
        self.proposals.append(Rejected(body["trace"], violation, score))
        self.rejected_in_row += 1
        if body["source"] == "preset":
            self.presets.add(body["name"])
        if body["source"] == "evidence":
            self.evidence.turned_down.add(body["digest"])

    def _start_leg(self, body: JSON, at: float) -> None:
        trial = self.trials[body["trial"]]
        trial.leg = RunningLeg(body["fence"], body["last_epoch"], at)
        trial.share = trial.share if body["share"] is None else body["share"]
        self.fence = body["fence"]

    def _report(self, event: Event) -> None:
        trial, body = self.trial(event), event.body
        leg = self._current_leg(trial, event)
        leg.worked_s += body["seconds"]
        trial.cost.work += trial.share * body["seconds"]
        trial.checkpoint, trial.failures = body["checkpoint"], 0
        self.failed_alike = (0, "")
        if body["epoch"] == 1:
            trial.inherited = body["metrics"].get(INHERITED)
        self._score(trial, body)

    def _learn(self, body: JSON) -> None:
        found = Evidence.of(body)
        for epoch in body["epochs"]:
            self._score(found.trial, epoch)
        self.evidence.add(found)

    def _reuse(self, event: Event) -> None:
        trial = self.trial(event)
        trial.checkpoint = event.body["checkpoint"]
        for epoch in event.body["epochs"]:
            self._score(trial, epoch)

    def _score(self, trial: Trial, body: JSON) -> None:
        """Take in what an epoch of a trial gave, whoever trained it."""
        score = self.vector(
            trial, epoch=body["epoch"], metrics=body["metrics"], train_s=body["train_seconds"]
        )
        trial.epoch = body["epoch"]
        trial.trained_s += trial.share * body["train_seconds"]
        if score is not None and not trial.violation:
            trial.scores[trial.epoch] = score
            trial.values[trial.epoch] = self.objectives[0].score(score[0])

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


_ABOUT_A_TRIAL = ("asked", "leg_started", "epoch", "leg_ended", "promoted", "halted", "reused", "trial_ended")
_ASKED = (
    "name", "candidate", "digest", "trace", "seed", "source", "purpose", "max_epochs", "profile", "share",
)  # fmt: skip
