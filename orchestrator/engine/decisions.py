"""Whether what a search decided follows from its journal.

An engine is led through the events. Wherever a driver decided something, this engine, which holds the events before that
place and nothing else, is asked as the driver asked its own, and must answer with the events that stand there. What an engine
is told rather than decides is given to it as the journal tells it:

- **results** of workers, and what users asked for: more to spend, a pause, the end;
- the **time**: that of the event, which is the one that the driver told its engine;
- the **slots**, and how the space was narrowed: those of ``leading``;
- what the **gates** measured of a proposal (its numbers, its loss's fault, its zero-cost score): that of the proposal's event,
  so neither the data set nor a network is needed;
- **requests** outside the search (winners trained anew, presets to compare with): which candidate, seed, length and share.

Candidates have the names of today (``naming``). Where an earlier version asked a candidate although today's knows that it is an
earlier trial's, that decision is taken as it stands.

Journals with ``leading`` of version 1 lack two of these: an event has the time after its decision, so that of the event before
may be right, too; and as many slots count as legs ran side by side.
"""

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.engine.engine import Engine
from orchestrator.engine.events import Draft, Event
from orchestrator.engine.naming import named_now, own_name
from orchestrator.engine.proposal import DUPLICATE, LOSS_FAULT
from orchestrator.engine.settings import EngineSettings
from orchestrator.errors import ReplayError
from search_spaces.candidate import Candidate, digest, from_json
from search_spaces.errors import SpaceError
from search_spaces.loss import Loss
from search_spaces.loss_battery import Fault
from workers.contract import JSON, EpochResult, LegResult

DECIDED = frozenset(
    {"asked", "rejected", "leg_started", "promoted", "halted", "reused", "refused", "trial_ended", "finished"}
)
TOLD = frozenset({"opened", "evidence", "stop_requested", "extended", "noted"})
NAMED = ("candidate", "trace")
"""They have other forms where a candidate had another name; its name of today says what it is."""
NOBODY: JSON = {"slots": 1, "whole": 1, "fix": None}  # leads before the first driver; nothing is decided then

SettingsAt = Callable[[JSON], EngineSettings]
"""What a driver told its engine, by the body of its ``leading``; what the gates are does not matter."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first event that does not follow from those before it.

    Attributes:
        seq: Its number; one more than there are, where the journal ends within a decision.
        message: What the journal has and what the engine decides.
    """

    seq: int
    message: str


@dataclass(frozen=True, slots=True)
class Followed:
    """How far the decisions of a journal follow from it.

    Attributes:
        decisions: Events that a driver's engine decided.
        same: How many of them were decided again, by kind, up to the first difference.
        requests: Trials outside the search: asked for, not decided.
        untold: Drivers whose slots and times of decisions are not in the journal.
        twins: Decisions taken as they stand, as another version took one candidate for two.
        difference: The first one, or None.
    """

    decisions: int
    same: Mapping[str, int]
    requests: int
    untold: int
    twins: int
    difference: Difference | None


def follow(written: Sequence[Event], settings: SettingsAt) -> Followed:
    """Decide again all that stands in a journal, until something differs."""
    changed = _renamed(written)
    follower = _Follower(list(named_now(written, all_proposals=True)), settings, changed)
    difference = follower.run()
    if difference is not None and (seq := min(changed, default=None)) is not None:
        because = f"event {seq} names a candidate otherwise than this version of segsearch: another decided, or it was altered"
        difference = replace(difference, message=f"{difference.message}; {because}")
    requests = sum(map(_is_request, written))
    return Followed(
        decisions=sum(event.kind in DECIDED for event in written) - requests,
        same=dict(follower.same),
        requests=requests,
        untold=sum(event.kind == "leading" and event.body["slots"] is None for event in written),
        twins=follower.twins,
        difference=difference,
    )


class _UnforeseenError(Exception):
    """The engine proposes a candidate that does not stand next in the journal; its digest."""


class _Gates:
    """Gates that say what the journal tells of the proposals that stand next in it."""

    def __init__(self) -> None:
        self._next: dict[str, JSON] = {}
        self._body: JSON = {}
        self._passing: Mapping[str, float] = {}
        self._score = ""

    def put_into(self, settings: EngineSettings) -> EngineSettings:
        """The settings with these gates instead of theirs."""
        screening = settings.screening
        self._passing = dict.fromkeys(settings.constraints, -math.inf)
        self._score = "" if screening is None else screening.score
        return replace(
            settings,
            gate=self._measure,
            loss_gate=self._judge,
            screening=None if screening is None else replace(screening, measure=self._rate),
        )

    def expect(self, proposals: Iterator[JSON]) -> None:
        """The bodies of the proposals that stand next; of a candidate that comes twice, the last tells all."""
        self._next = {body["digest"]: body for body in proposals}

    def _measure(self, candidate: Candidate) -> Mapping[str, float] | str:
        key = digest(candidate)
        if key not in self._next:
            raise _UnforeseenError(key)
        body = self._body = self._next[key]
        match body.get("reason"):
            case None:
                return {**self._passing, **body["profile"]}
            case "unbuildable":
                return str(body["message"])
            case "constraint":
                return {**self._passing, body["limit"]: body["value"]}
        return self._passing

    def _judge(self, _loss: Loss) -> Fault | None:
        if self._body.get("reason") != "loss":
            return None
        return Fault(self._body["limit"], self._body["message"].removeprefix(LOSS_FAULT))

    def _rate(self, _candidate: Candidate) -> float:
        turned_down = self._body.get("reason") == "score"
        told = self._body["value"] if turned_down else self._body.get("profile", {}).get(self._score)
        return -math.inf if told is None else float(told)


class _Follower:
    """Stands at a place in a journal, with an engine that holds the events before it."""

    def __init__(self, written: Sequence[Event], settings: SettingsAt, renamed: Collection[int]) -> None:
        self.same: Counter[str] = Counter()
        self.twins = 0
        self._renamed = renamed
        # Names that candidates of these events did not have when they were written.
        self._names = {event.body["digest"] for event in written if event.seq in renamed}
        self._written = written
        self._settings = settings
        self._place = 0
        self._gates = _Gates()
        self._engine = Engine(self._gates.put_into(settings(NOBODY)))
        self._untold = False  # the driver's slots, and the times of its decisions
        self._stopping: set[int] = set()  # legs that were told to end
        self._pausing = False

    def run(self) -> Difference | None:
        """Go to the end, or to the first difference."""
        while self._place < len(self._written):
            event = self._written[self._place]
            try:
                if event.kind in TOLD or event.kind == "leading":
                    self._hear(event)
                elif taken := self._twin():
                    self.twins += taken
                    for _ in range(taken):
                        self._engine.apply(self._written[self._place])
                        self._place += 1
                elif (difference := self._check(event)) is not None:
                    return difference
            except (ReplayError, SpaceError) as error:
                return Difference(self._written[self._place].seq, str(error))
        return None

    def _hear(self, event: Event) -> None:
        if event.kind == "leading":
            told = event.body
            self._untold = told["slots"] is None
            if self._untold:
                told = {**told, **_used(self._written[self._place + 1 :])}
            self._engine.settings = self._gates.put_into(self._settings(told))
            self._stopping.clear()
            self._pausing = False
        elif event.kind == "noted" and event.body["kind"] == "pause":
            self._pausing = True
        self._take(event)

    def _check(self, event: Event) -> Difference | None:
        """Decide again what stands here, and pass it; or say what differs."""
        times = [event.at]
        if self._untold and self._place:
            times.append(self._written[self._place - 1].at)
        differences = []
        for now in times:
            try:
                drafts = self._decide(event, now)
            except _UnforeseenError as error:
                message = f"the journal has {_title(event)}; the engine proposes candidate {error}"
                differences.append(Difference(event.seq, message))
                continue
            difference = self._compare(drafts)
            if difference is None:
                for _ in drafts:
                    self._take(self._written[self._place])
                return None
            differences.append(difference)
        return differences[0]

    def _decide(self, event: Event, now: float) -> Sequence[Draft]:
        """What the engine writes here."""
        body, engine = event.body, self._engine
        following = self._written[self._place + 1 : self._place + 2]
        match event.kind:
            case "epoch":
                return self._report(event, now)
            case "halted" if (
                following and following[0].kind == "epoch"
            ):  # beyond a limit: the epoch comes after it
                return self._report(following[0], now)
            case "leg_ended":
                engine.state.trial(event)
                if body["status"] == "stopped" and not (self._pausing or body["fence"] in self._stopping):
                    raise ReplayError(f"leg {body['fence']} was stopped, but the engine lets it go on.")
                return engine.tell(LegResult(search="", **body), now)
            case "refused":
                return self._refuse(event, now)
            case "asked" if _is_request(event):
                self._gates.expect(iter([body]))
                return engine.request(
                    from_json(Candidate, body["candidate"]),
                    seed=body["seed"],
                    epochs=body["max_epochs"],
                    purpose=body["purpose"],
                    name=body["name"],
                    share=body["share"],
                ).drafts
        self._gates.expect(event.body for event in self._proposals())
        return engine.ask(now).drafts

    def _report(self, event: Event, now: float) -> Sequence[Draft]:
        body = event.body
        self._engine.state.trial(event)
        loss = math.nan if body["loss"] is None else body["loss"]
        reaction = self._engine.report(EpochResult(search="", **{**body, "loss": loss}), now)
        if reaction.stop:
            self._stopping.add(body["fence"])
        return reaction.drafts

    def _refuse(self, event: Event, now: float) -> Sequence[Draft]:
        """What the engine makes of a result of which the journal holds no more than that it came too late."""
        body = event.body
        self._engine.state.trial(event)
        known: JSON = {key: body[key] for key in ("trial", "fence", "epoch", "seconds")}
        known |= {"search": "", "at": event.at}
        if body["what"] == "leg_ended":
            return self._engine.tell(LegResult(status="completed", **known), now)
        unknown: JSON = {"loss": 0.0, "metrics": {}, "train_seconds": 0.0, "checkpoint": ""}
        return self._engine.report(EpochResult(**known, **unknown), now).drafts

    def _proposals(self) -> Iterator[Event]:
        """Those that stand next."""
        following = itertools.islice(self._written, self._place, None)
        return itertools.takewhile(lambda event: event.kind in ("rejected", "asked"), following)

    def _twin(self) -> int:
        """How many events a decision has in which another version took one candidate for two; 0 of any other."""
        if not any(map(self._is_twin, self._proposals())):
            return 0
        *_, last = proposed = list(self._proposals())
        if last.kind == "rejected":
            return len(proposed)
        following = itertools.islice(self._written, self._place + len(proposed), None)
        begun = itertools.takewhile(lambda event: event.body.get("trial") == last.body["trial"], following)
        # Its first leg, or the training that it took over with the verdict.
        return len(proposed) + (1 if next(begun).kind == "leg_started" else 2)

    def _is_twin(self, event: Event) -> bool:
        body = event.body
        known = self._engine.state.digests.get(body["digest"]) if body["digest"] in self._names else None
        if known is None:
            return False
        if event.kind == "rejected":
            return bool(body["reason"] == "duplicate" and body["message"] != f"{DUPLICATE}{known}")
        return bool(body["purpose"] == "search" and body["source"] != "repeat")

    def _compare(self, drafts: Sequence[Draft]) -> Difference | None:
        here = self._written[self._place]
        if not drafts:
            return Difference(here.seq, f"the journal has {_title(here)}; the engine waits for results")
        for place, draft in enumerate(drafts, start=self._place):
            if place == len(self._written):
                return Difference(place + 1, f"the journal ends; the engine decides {_title(draft)}, too")
            event = self._written[place]
            if event.kind != draft.kind:
                message = f"the journal has {_title(event)}; the engine decides {_title(draft)}"
                return Difference(event.seq, message)
            if field := _apart(event, draft, NAMED if event.seq in self._renamed else ()):
                told, own = (json.dumps(body.get(field)) for body in (event.body, draft.body))
                message = (
                    f"the journal has {_title(event)} with {field} {told[:80]}; the engine decides {own[:80]}"
                )
                return Difference(event.seq, message)
        return None

    def _take(self, event: Event) -> None:
        self._engine.apply(event)
        if event.kind in DECIDED and not _is_request(event):
            self.same[event.kind] += 1
        self._place += 1


def _renamed(written: Iterable[Event]) -> frozenset[int]:
    """The events whose candidates have other digests now, as canonical forms change, or are none any more."""
    proposals = (event for event in written if event.kind in ("asked", "rejected"))
    return frozenset(e.seq for e in proposals if own_name(e.body["candidate"]) != e.body["digest"])


def _is_request(event: Event) -> bool:
    return event.kind == "asked" and event.body["purpose"] != "search"


def _used(written: Sequence[Event]) -> JSON:
    """Slots that the legs of a driver took side by side, and one leg at most; no fewer than one."""
    running: dict[int, float] = {}
    most = whole = 1.0
    for event in written:
        match event.kind:
            case "leading":
                break
            case "leg_started":
                share = event.body["share"] or 1.0
                running[event.body["trial"]] = share
                most, whole = max(most, sum(running.values())), max(whole, share)
            case "leg_ended":
                running.pop(event.body["trial"], None)
    return {"slots": math.ceil(most), "whole": math.ceil(whole)}


def _apart(event: Event, draft: Draft, left_out: Collection[str]) -> str:
    """The first field that differs, small ones first and some left out; empty where none does."""
    told, own = event.body, draft.body
    if own != told:
        own = json.loads(json.dumps(own))  # as it comes back from a journal
    fields = sorted(
        {*told, *own}.difference(left_out), key=lambda name: isinstance(own.get(name), dict | list)
    )
    untold = draft.kind == "leg_started" and told["share"] is None
    return next(
        (f for f in fields if told.get(f, ...) != own.get(f, ...) and not (untold and f == "share")), ""
    )


def _title(what: Event | Draft) -> str:
    """An event or draft in a few words."""
    body = what.body
    match what.kind:
        case "rejected":
            return f"'rejected' of candidate {body['digest']} ({body['reason']})"
        case "asked":
            return f"'asked' of trial {body['trial']}, candidate {body['digest']}"
        case "promoted":
            return f"'promoted' of trial {body['trial']} to {body['to_epoch']} epochs"
        case "finished":
            return f"'finished' ({body['reason']})"
    return f"{what.kind!r} of trial {body['trial']}" if "trial" in body else f"{what.kind!r}"
