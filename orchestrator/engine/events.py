"""Events: what a search decided and observed, in the order in which it happened.

The journal holds nothing else, and all else (engine state, leaderboard, tracking, accounts) is a fold over them. An event
is plain JSON with a kind, a version of its kind's body, a number within its search and the time at which it was written.
The constructors below are the only makers of bodies; a reader of an older version meets it already lifted by ``upcast``.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from orchestrator.errors import NewerJournalError
from workers.contract import JSON, EpochResult, LegResult

Kind = Literal[
    "opened",
    "evidence",
    "leading",
    "asked",
    "rejected",
    "leg_started",
    "epoch",
    "leg_ended",
    "refused",
    "promoted",
    "halted",
    "reused",
    "trial_ended",
    "stop_requested",
    "finished",
    "extended",
    "noted",
]
Source = Literal["preset", "evidence", "random", "sampler", "mutation", "repeat", "request"]
Purpose = Literal["search", "retrain", "baseline"]
Verdict = Literal["completed", "stopped", "diverged", "out_of_memory", "failed"]
Rejection = Literal["constraint", "duplicate", "unbuildable", "loss", "score"]
Finish = Literal["trials", "wall", "worker_hours", "exhausted", "failures", "stop_requested"]
Relation = Literal["identical", "transfer"]

NOT_PROMOTED, SEARCH_ENDED = "not promoted", "the search ended"
"""Messages of trials that were stopped because the search ended; they go on when it is extended."""

KINDS: frozenset[str] = frozenset(get_args(Kind))


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that the journal has not numbered yet."""

    kind: Kind
    body: JSON
    version: int = 1


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal.

    Attributes:
        seq: Number within the search, 1, 2, 3, ... without gaps.
        kind: What happened.
        version: Version of the body, after lifting the newest of its kind.
        at: Unix time in seconds at which the driver wrote it.
        body: The facts, JSON values only.
    """

    seq: int
    kind: Kind
    version: int
    at: float
    body: JSON


Lift = Callable[[JSON], JSON]
_lifts: dict[tuple[str, int], Lift] = {
    ("asked", 1): lambda body: {**body, "parent": None},
    ("leading", 1): lambda body: {**body, "slots": None, "whole": None, "fix": None},
    ("leading", 2): lambda body: {**body, "spaces": None},
    ("leg_started", 1): lambda body: {**body, "micro_batches": 1, "share": None},
    ("halted", 1): lambda body: {**body, "violation": 0.0},
}
"""Body of version v to body of version v + 1, by (kind, v)."""


def upcast(event: Event, lifts: Mapping[tuple[str, int], Lift] = _lifts) -> Event:
    """Lift the body of an older version, step by step, to the newest that this code knows."""
    version, body = event.version, event.body
    if version == 1 and (event.kind, 1) not in lifts:
        return event  # most are
    newest = max((known + 1 for kind, known in lifts if kind == event.kind), default=1)
    if event.kind in KINDS and version > newest:
        raise NewerJournalError(
            f"journal: event {event.seq} ({event.kind}) has version {version}, this version of segsearch knows {newest}; "
            "install the newer version."
        )
    while (lift := lifts.get((event.kind, version))) is not None:
        version, body = version + 1, lift(body)
    return event if version == event.version else Event(event.seq, event.kind, version, event.at, body)


def opened(
    job: JSON, data_digest: str, *, protocol: Mapping[str, Any], versions: Mapping[str, str], seed: int
) -> Draft:
    """A search begins: what the user submitted and what its results are bound to."""
    body = {"job": job, "data_digest": data_digest, "protocol": dict(protocol), "versions": dict(versions)}
    return Draft("opened", {**body, "seed": seed})


def evidence(
    search: str,
    trial: int,
    candidate: JSON,
    *,
    name: str,
    digest: str,
    duplicate: str,
    trace: JSON,
    seed: int,
    relation: Relation,
    rank: int | None,
    verdict: Verdict | None,
    max_epochs: int,
    profile: Mapping[str, float],
    share: float,
    epochs: Sequence[JSON],
    checkpoint: str | None,
) -> Draft:
    """What a trial of another search found; it stands before everything that this search decides.

    Args:
        search: The other search.
        trial: Number of the trial there.
        candidate: Its candidate as JSON.
        name: What a user saw there.
        digest: Canonical digest of the candidate.
        duplicate: The digest of ``engine.evidence.duplicate_digest``: equal where a training here would be the same.
        trace: The candidate as choices of this search's space.
        seed: Seed of the trial.
        relation: ``identical`` where data and protocol are those of this search, so that its scores compare with the ones
            here; else ``transfer``, and only its rank is used.
        rank: Its place among the trials of its search; None without a score.
        verdict: Its verdict there; None where it had none yet.
        max_epochs: Length of its full training.
        profile: Numbers of the gate there.
        share: Slots that a leg of it took.
        epochs: Bodies of its ``epoch`` events without trial, leg and checkpoint.
        checkpoint: Where its trained network is, if this search may take it over as it is.
    """
    body = {"search": search, "trial": trial, "candidate": candidate, "name": name, "digest": digest}
    more = {"duplicate": duplicate, "trace": trace, "seed": seed, "relation": relation, "rank": rank}
    rest = {"verdict": verdict, "max_epochs": max_epochs, "profile": dict(profile), "share": share}
    return Draft("evidence", {**body, **more, **rest, "epochs": list(epochs), "checkpoint": checkpoint})


def leading(
    driver: Mapping[str, Any],
    fence: int,
    *,
    slots: int | None = None,
    whole: int | None = None,
    fix: Mapping[str, Any] | None = None,
    spaces: str | None = None,
) -> Draft:
    """A driver took the search over; legs of an earlier driver are lost from here on.

    Args:
        driver: Who it is.
        fence: Of its leadership.
        slots: Legs of one slot that it runs side by side. What follows is None in journals of version 1.
        whole: Slots that one leg may take at once.
        fix: How it narrows the space: the job's ``fix``, and what its machine decides.
        spaces: Digest of the code by which it names candidates (``naming.naming_code``). None in journals of version 2.
    """
    body = {"driver": dict(driver), "fence": fence, "slots": slots, "whole": whole}
    return Draft("leading", {**body, "fix": None if fix is None else dict(fix), "spaces": spaces}, version=3)


def asked(
    trial: int,
    candidate: JSON,
    *,
    name: str,
    digest: str,
    trace: JSON,
    seed: int,
    source: Source,
    purpose: Purpose,
    to_epoch: int,
    max_epochs: int,
    profile: Mapping[str, float],
    share: float,
    parent: JSON | None = None,
) -> Draft:
    """A trial exists.

    Args:
        trial: Number of the trial, 0, 1, 2, ... within the search.
        candidate: The candidate as JSON.
        name: What a user sees: a preset's name, else ``trial <n>``.
        digest: Canonical digest of the candidate.
        trace: The candidate as choices of the space, path -> value; empty where the candidate came from outside it.
        seed: Seed of the trial.
        source: Who proposed it.
        purpose: Trials of a search are judged by rungs; ``retrain`` and ``baseline`` run to their end.
        to_epoch: Epochs to which it may train until it is promoted.
        max_epochs: Length of the full training.
        profile: Numbers of the gate: ``parameters``, ...
        share: Slots that a leg of it takes.
        parent: The trial whose weights it begins with: ``trial``, ``epoch`` and ``checkpoint`` there. None for its own start.
    """
    body = {
        "trial": trial,
        "candidate": candidate,
        "name": name,
        "digest": digest,
        "trace": trace,
        "seed": seed,
    }
    more = {"source": source, "purpose": purpose, "to_epoch": to_epoch, "max_epochs": max_epochs}
    rest = {"profile": dict(profile), "share": share, "parent": parent}
    return Draft("asked", {**body, **more, **rest}, version=2)


def rejected(
    candidate: JSON,
    *,
    name: str,
    digest: str,
    trace: JSON,
    source: Source,
    reason: Rejection,
    limit: str = "",
    value: float | None = None,
    allowed: float | None = None,
    message: str = "",
) -> Draft:
    """A proposal that no worker sees.

    Args:
        candidate: The candidate as JSON.
        name: Name of a preset, else empty.
        digest: Canonical digest of the candidate.
        trace: Its choices.
        source: Who proposed it.
        reason: ``constraint``, ``duplicate`` of an earlier trial, ``unbuildable``, a ``loss`` that cannot train a network, or a
            low zero-cost ``score``.
        limit: Name of the constraint, of the score, or of the property that the loss lacks.
        value: The candidate's number; None of a score is minus infinity.
        allowed: The job's limit, or the lowest score that would have passed.
        message: One line for the user.
    """
    body = {"candidate": candidate, "name": name, "digest": digest, "trace": trace, "source": source}
    more = {"reason": reason, "limit": limit, "value": value, "allowed": allowed, "message": message}
    return Draft("rejected", {**body, **more})


def leg_started(
    trial: int,
    fence: int,
    *,
    first_epoch: int,
    last_epoch: int,
    checkpoint: str | None,
    micro_batches: int,
    share: float,
) -> Draft:
    """A leg is about to be handed to an executor.

    Args:
        fence: Its number.
        micro_batches: Parts into which each of its batches is cut.
        share: Slots that it takes; the trial has them from now on. None in journals of version 1: those that it had.
    """
    body = {"trial": trial, "fence": fence, "first_epoch": first_epoch, "last_epoch": last_epoch}
    more = {"checkpoint": checkpoint, "micro_batches": micro_batches, "share": share}
    return Draft("leg_started", {**body, **more}, version=2)


def epoch(result: EpochResult) -> Draft:
    """An epoch was scored and its checkpoint committed; a number that is not finite is no number."""
    body = _without_search(result)
    body["metrics"] = {name: value for name, value in result.metrics.items() if math.isfinite(value)}
    body["loss"] = result.loss if math.isfinite(result.loss) else None
    return Draft("epoch", body)


def leg_ended(result: LegResult) -> Draft:
    """A leg ended."""
    return Draft("leg_ended", _without_search(result))


def refused(result: EpochResult | LegResult, expected: int | None) -> Draft:
    """A result of a leg that is no longer the trial's: counted, not used."""
    what = "epoch" if isinstance(result, EpochResult) else "leg_ended"
    body = {"what": what, "trial": result.trial, "fence": result.fence, "expected": expected}
    return Draft("refused", {**body, "epoch": result.epoch, "seconds": result.seconds})


def promoted(trial: int, *, from_epoch: int, to_epoch: int, judged: bool, value: float | None) -> Draft:
    """A trial may train on to the next rung; ``judged`` is False where its rung could not judge it."""
    body = {"trial": trial, "from_epoch": from_epoch, "to_epoch": to_epoch}
    return Draft("promoted", {**body, "judged": judged, "value": value})


def halted(trial: int, *, epoch: int, reason: str, violation: float = 0.0) -> Draft:
    """A running trial must end after this epoch, as its scheduler expects no more of it, or as it is beyond a limit.

    Args:
        violation: Relative excess over the limit; the event then stands before the epoch's, whose scores do not count.
    """
    body = {"trial": trial, "epoch": epoch, "reason": reason, "violation": violation}
    return Draft("halted", body, version=2)


def reused(trial: int, *, search: str, source: int, epochs: Sequence[JSON], checkpoint: str | None) -> Draft:
    """A trial is not trained, as another search did the same training; at no cost.

    Args:
        trial: Number of the trial.
        search: The other search.
        source: Number of the trial there.
        epochs: What each epoch gave there, as in ``evidence``.
        checkpoint: Where the trained network is; None where it is gone.
    """
    body = {"trial": trial, "search": search, "source": source}
    return Draft("reused", {**body, "epochs": list(epochs), "checkpoint": checkpoint})


def epochs_told(event: Event) -> list[JSON]:
    """What epochs gave of which an event tells: one, all of a training that was taken over, or none."""
    match event.kind:
        case "epoch":
            return [event.body]
        case "reused":
            return list(event.body["epochs"])
    return []


def trial_ended(trial: int, verdict: Verdict, *, value: float | None, epoch: int, message: str = "") -> Draft:
    """A trial has its verdict; ``value`` is the objective at ``epoch``, its last."""
    return Draft(
        "trial_ended",
        {"trial": trial, "verdict": verdict, "value": value, "epoch": epoch, "message": message},
    )


def stop_requested(by: str) -> Draft:
    """A user asked the search to end after the running epochs."""
    return Draft("stop_requested", {"by": by})


def finished(reason: Finish, message: str = "") -> Draft:
    """The search proposes nothing more; requested trials may still run."""
    return Draft("finished", {"reason": reason, "message": message})


def extended(*, trials: int = 0, wall_s: float = 0.0, worker_hours: float = 0.0, by: str = "") -> Draft:
    """A user gave the search more to spend; where it had finished, it goes on with the trials that it had left behind."""
    return Draft("extended", {"trials": trials, "wall_s": wall_s, "worker_hours": worker_hours, "by": by})


def noted(kind: str, data: Mapping[str, Any]) -> Draft:
    """A fact that no decision depends on: a picture's place, an export, a table of test scores."""
    return Draft("noted", {"kind": kind, "data": dict(data)})


def _without_search(result: EpochResult | LegResult) -> JSON:
    body = asdict(result)
    del body["search"]  # the journal's key says it
    return body
