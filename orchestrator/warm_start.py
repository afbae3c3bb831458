"""Warm start: what trials of other searches are worth to a new one, gathered once and written with its first event.

A search that begins writes ``opened`` and all of this in one transaction, so no driver ever finds a part of it. A source may be
finished or not; what it had found by then is a snapshot.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from orchestrator.engine import events
from orchestrator.engine.events import Draft, Event, Relation
from orchestrator.engine.evidence import Evidence, duplicate_digest
from orchestrator.engine.leaderboard import leaderboard
from orchestrator.engine.naming import named_now
from orchestrator.errors import WarmStartError
from orchestrator.journal import Journal
from orchestrator.plan import Plan
from orchestrator.reading import EVIDENCE, epoch_bodies, state_of
from search_spaces.candidate import Candidate, digest, from_json
from search_spaces.errors import SpaceError
from search_spaces.space import Space, Trace, encode
from workers.checkpoint import MANIFEST
from workers.contract import JSON
from workers.store import open_store


@dataclass(frozen=True, slots=True)
class Target:
    """What evidence must fit: the search that is to begin.

    Attributes:
        space: What may be chosen, narrowed by the job.
        constraints: Upper limits on the gate's numbers and on what epochs tell.
        data: Digest of the data set.
        protocol: As ``opened`` holds it.
        reuse: Whether trainings may be taken over.
    """

    space: Space
    constraints: Mapping[str, float]
    data: str
    protocol: JSON
    reuse: bool

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The search of a plan."""
        protocol = json.loads(json.dumps(plan.protocol))  # as it comes back from a journal
        settings = plan.settings
        limits = {**settings.constraints, **settings.limits}
        return cls(settings.space, limits, plan.dataset.digest, protocol, settings.reuse)


def gather(journal: Journal, sources: Iterable[str], target: Target) -> tuple[Draft, ...]:
    """An ``evidence`` event for each trial that fits, then a note of the counts by source; empty without sources.

    A trial fits if it has an epoch with scores or diverged, if the space holds its candidate and, where its numbers compare,
    if it is within the limits. Of two equal trainings the longer one stands. What began with the weights of another trial is
    ``transfer`` from any source: a training of its candidate from the start would find something else.

    Raises:
        UnknownSearchError: There is no such source.
        WarmStartError: Trainings are to be reused, and no source has any under the same conditions.
    """
    kept: dict[str, tuple[str, Draft, int]] = {}
    notes: dict[str, Counter[str]] = {}
    relations: dict[str, Relation] = {}
    for source in sources:
        written = list(named_now(journal.read(source)))
        relations[source] = _relation(written[0].body, target)
        notes[source] = Counter(outside=0, beyond=0)
        for found in _trials(source, written, relations[source]):
            fitting = _fit(found, target)
            if isinstance(fitting, str):
                notes[source][fitting] += 1
            elif found.duplicate not in kept or kept[found.duplicate][2] < len(found.epochs):
                kept[found.duplicate] = (source, fitting, len(found.epochs))
    if target.reuse and "identical" not in relations.values():
        raise WarmStartError(_nothing_to_reuse(relations))
    if not relations:
        return ()
    count = Counter(source for source, _, _ in kept.values())
    lines = [
        {"search": source, "relation": relations[source], "kept": count[source], **note}
        for source, note in notes.items()
    ]
    return (*(draft for _, draft, _ in kept.values()), events.noted(EVIDENCE, {"sources": lines}))


def forked(plan: Plan, source: str, journal: Journal) -> Plan:
    """A plan whose search takes a source on the same data as evidence.

    Raises:
        UnknownSearchError: There is no such source.
        WarmStartError: It is on other data.
    """
    data = journal.read(source, limit=1)[0].body["data_digest"]
    if data != plan.dataset.digest:
        raise WarmStartError(
            f"search {source!r} is on data {data[:12]}, the new job on {plan.dataset.digest[:12]}, so it cannot be forked: "
            f"give the job the same data set, or begin one with 'search.warm_start: [{source}]', which tries its best first."
        )
    names = list(dict.fromkeys([source, *plan.job.search.warm_start]))
    return replace(plan, job=replace(plan.job, search=replace(plan.job.search, warm_start=names)))


def _relation(opened: JSON, target: Target) -> Relation:
    same = (opened["data_digest"], opened["protocol"]) == (target.data, target.protocol)
    return "identical" if same else "transfer"


def _trials(source: str, written: list[Event], relation: Relation) -> Iterator[Evidence]:
    """Trials of a search, then what it knew itself from others under its own conditions."""
    state, opened = state_of(written), written[0].body
    ranks = {row.trial: row.rank for row in leaderboard(state)}
    bodies = epoch_bodies(written)
    for trial in state.of("search"):
        # Where memory ran out, batches were cut into parts: nearly the same training, but not the same.
        protocol = opened["protocol"] | ({"memory_failures": True} if trial.memory_failures else {})
        if trial.is_heir:
            protocol |= {"inherited": [source, trial.number]}
        key = duplicate_digest(trial.digest, data=opened["data_digest"], protocol=protocol, seed=trial.seed)
        epochs = tuple(_without_place(body) for body in bodies.get(trial.number, ()))
        yield Evidence(
            source, "transfer" if trial.is_heir else relation, key, ranks[trial.number], epochs, trial
        )
    for known in state.evidence.items:
        if known.relation == "identical":
            yield replace(known, relation=relation)


def _fit(found: Evidence, target: Target) -> Draft | str:
    """The evidence, or why there is none: ``unscored``, ``outside`` the space or ``beyond`` a limit."""
    trial = found.trial
    if not trial.scores and trial.verdict != "diverged":
        return "unscored"
    member = _member(trial.candidate, target.space)
    if member is None:
        return "outside"
    numbers = {**trial.profile, **(found.epochs[-1]["metrics"] if found.epochs else {})}
    limits = target.constraints.items()
    if found.relation == "identical" and any(numbers.get(name, 0.0) > most for name, most in limits):
        return "beyond"
    candidate, trace = member
    may_stand = target.reuse and found.relation == "identical" and trial.verdict == "completed"
    checkpoint = trial.checkpoint if may_stand and trial.checkpoint and _is_there(trial.checkpoint) else None
    return events.evidence(
        found.search,
        trial.number,
        trial.candidate,
        name=trial.name,
        digest=digest(candidate),
        duplicate=found.duplicate,
        trace=trace,
        seed=trial.seed,
        relation=found.relation,
        rank=found.rank,
        verdict=trial.verdict,
        max_epochs=trial.max_epochs,
        profile=trial.profile,
        share=trial.share,
        epochs=found.epochs,
        checkpoint=checkpoint,
    )


def _member(candidate: JSON, space: Space) -> tuple[Candidate, Trace] | None:
    try:
        read = from_json(Candidate, candidate)
        return read, encode(space, read)
    except SpaceError:
        return None


def _is_there(checkpoint: str) -> bool:
    return open_store(checkpoint).exists(MANIFEST)


def _without_place(body: JSON) -> JSON:
    kept: dict[str, Any] = {name: body[name] for name in body if name not in ("trial", "fence", "checkpoint")}
    return kept


def _nothing_to_reuse(relations: Mapping[str, Relation]) -> str:
    if not relations:
        return "search.reuse: there is nothing to reuse; name searches in search.warm_start, or fork one, or remove it."
    names = ", ".join(repr(name) for name in relations)
    return (
        f"search.reuse: {names} ran on other data or under another protocol (size, batch, epoch_samples, regions, "
        "adjacent_slices, max_epochs, plugins), so nothing of it can be reused; remove reuse, or make the job the same in "
        "these."
    )
