"""A table of what searches trained anyway: their full trainings, read from the journal. Nothing is trained.

Seconds are worker-seconds as the search counted them, so what else ran on the machine is in them; those of a recording
(``recording.py``) are CPU seconds. A table that holds both says more of time than it knows.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.engine.events import Event
from orchestrator.engine.trial import Trial
from orchestrator.journal import Journal
from orchestrator.plan import Plan
from orchestrator.reading import epoch_bodies, state_of
from orchestrator.table import RecordedEpoch, Table, TableError, Training, begun, save_table
from search_spaces.candidate import Candidate, digest, from_json
from search_spaces.errors import SpaceError
from search_spaces.space import encode
from workers.contract import JSON, Status

RECORDED: frozenset[Status] = frozenset({"completed", "diverged"})


@dataclass(frozen=True, slots=True)
class Harvest:
    """What came of some searches.

    Attributes:
        table: The table, written.
        taken: Trainings that are new in it.
        left: Trials that are not in it, by reason: ``unfinished`` ended before their full length, ``outside`` the job's
            space, ``known`` to the table, ``inherited`` weights of another trial, ``memory`` ran out, so that batches were cut.
    """

    table: Table
    taken: int
    left: Mapping[str, int]


def harvest(plan: Plan, journal: Journal, sources: Iterable[str], out: Path) -> Harvest:
    """Add the full trainings of searches to a table, one a candidate and seed.

    Args:
        plan: The job that the table is for.
        journal: Where the searches are.
        sources: Their names; finished or not.
        out: The table, new or to be continued.

    Raises:
        UnknownSearchError: There is no such search.
        TableError: A search ran on other data or under another protocol, the file is a table of something else, or there is
            nothing to write.
    """
    table = begun(plan, out)
    left: Counter[str] = Counter()
    found = {(training.digest, training.seed): training for training in table.trainings}
    before = len(found)
    for source in sources:
        written = journal.read(source)
        _check(plan, source, written[0].body)
        for training in _trainings(plan, written):
            if isinstance(training, str):
                left[training] += 1
            elif (training.digest, training.seed) in found:
                left["known"] += 1
            else:
                found[training.digest, training.seed] = training
    if not found:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left.items()) or "they hold no trials"
        raise TableError(
            f"no full training to record ({reasons}); a search with 'scheduler: {{kind: none}}' has most."
        )
    table = Table(table.origin, tuple(found.values()))
    save_table(table, out)
    return Harvest(table, len(found) - before, dict(left))


def _check(plan: Plan, source: str, opened: JSON) -> None:
    protocol = json.loads(json.dumps(plan.protocol))  # as it comes back from a journal
    if opened["data_digest"] != plan.dataset.digest:
        raise TableError(
            f"search {source!r} ran on data {opened['data_digest'][:12]}, the job has {plan.dataset.digest[:12]}; "
            "leave the search out, or change the job's dataset."
        )
    for name in sorted({*opened["protocol"], *protocol}):
        theirs, ours = opened["protocol"].get(name), protocol.get(name)
        if theirs != ours:
            raise TableError(
                f"search {source!r} ran with {name} {theirs!r}, the job has {ours!r}; leave the search out, or change the job."
            )


def _trainings(plan: Plan, written: list[Event]) -> Iterator[Training | str]:
    """Each trial of the search as a training, or why it is none."""
    bodies = epoch_bodies(written)
    legs: dict[int, list[JSON]] = {}
    for event in written:
        if event.kind == "leg_ended":
            legs.setdefault(event.body["trial"], []).append(event.body)
    for trial in state_of(written).of("search"):
        epochs = bodies.get(trial.number, [])
        yield _training(plan, trial, epochs, legs.get(trial.number, []))


def _training(plan: Plan, trial: Trial, epochs: list[JSON], legs: list[JSON]) -> Training | str:
    if trial.is_heir:
        return "inherited"
    if trial.memory_failures:
        return "memory"
    if trial.verdict not in RECORDED or (trial.verdict == "completed" and trial.epoch < trial.max_epochs):
        return "unfinished"
    try:
        candidate = from_json(Candidate, trial.candidate)
        trace = encode(plan.settings.space, candidate)
    except SpaceError:
        return "outside"
    # An epoch that a killed leg had reported is there once: the next leg goes on behind it.
    beside = [
        leg["seconds"] - sum(e["seconds"] for e in epochs if e.get("fence") == leg["fence"]) for leg in legs
    ]
    startup_s = max(0.0, min(beside, default=0.0))
    lost_s = max(0.0, beside[-1] - startup_s) if beside and trial.verdict == "diverged" else 0.0
    return Training(
        candidate=trial.candidate,
        trace=trace,
        digest=digest(candidate),
        name="" if trial.source != "preset" else trial.name,
        seed=trial.seed,
        parameters=trial.profile["parameters"],
        macs=trial.profile["macs"],
        status=trial.verdict,
        startup_s=round(startup_s * trial.share, 4),
        epochs=tuple(
            RecordedEpoch(dict(e["metrics"]), e["loss"], round(e["seconds"] * trial.share, 4)) for e in epochs
        ),
        lost_s=round(lost_s * trial.share, 4),
    )
