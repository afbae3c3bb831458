"""Tables: trainings recorded to their end, so that searches can be tried on them in virtual time.

A table is one Parquet file with a row for each epoch. Its metadata says what it was recorded on: space, data, protocol. It is
written anew after each training, aside and then renamed, so it is whole at any moment and a recording that was killed goes on
where it stopped. Seconds are those of the process's CPU clock, which other processes on the machine do not stretch.
"""

import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.engine.proposal import derived_seed
from orchestrator.errors import OrchestratorError
from orchestrator.plan import Plan
from search_spaces.candidate import Candidate, digest, from_json, to_json
from search_spaces.errors import SpaceError
from search_spaces.space import Trace, encode, sample
from workers.checkpoint import delete_checkpoint
from workers.contract import JSON, EpochResult, Leg, Status
from workers.leg import open_work, run_leg

FORMAT = 1
METADATA = b"segsearch"
METRIC = "metric:"  # head of the names of columns that hold scores
DRAWS = 1000  # candidates drawn in a row without a new one within the limits: the space holds no more
FRESH_PER_REPEAT = 3  # so many new candidates, then one more seed of an earlier one

Watch = Callable[["Training", int, int], None]
"""Told each finished training, how many there are now, and how many there shall be."""


class TableError(OrchestratorError, ValueError):
    """A table that cannot be read, or that was recorded on something else."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the trainings of a table depend on besides candidate and seed.

    Attributes:
        space: Name of the space.
        fix: What was pinned or narrowed.
        data: Digest of the data set.
        protocol: What ``Plan.protocol`` says, without what is empty.
        constraints: Limits that all candidates but presets were drawn within.
    """

    space: str
    fix: JSON
    data: str
    protocol: JSON
    constraints: dict[str, float]


@dataclass(frozen=True, slots=True)
class RecordedEpoch:
    """One epoch: scores of the validation cases, mean training loss, CPU seconds of training, scoring and checkpoint."""

    metrics: dict[str, float]
    loss: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Training:
    """One candidate trained with one seed, alone, on one thread.

    Attributes:
        name: The preset's name, else empty.
        status: How it ended; ``completed`` has all epochs of the protocol.
        startup_s: CPU seconds of building data, network and optimiser once.
        epochs: Finished epochs in order.
        lost_s: CPU seconds of the epoch that broke, 0 where none did.
    """

    candidate: JSON
    trace: Trace
    digest: str
    name: str
    seed: int
    parameters: float
    macs: float
    status: Status
    startup_s: float
    epochs: tuple[RecordedEpoch, ...]
    lost_s: float = 0.0

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.startup_s + sum(epoch.seconds for epoch in self.epochs) + self.lost_s


@dataclass(frozen=True)
class Table:
    """Recorded trainings in the order in which they finished."""

    origin: Origin
    trainings: tuple[Training, ...]

    @cached_property
    def by_digest(self) -> dict[str, tuple[Training, ...]]:
        """Trainings of each candidate, first recorded first."""
        found: dict[str, tuple[Training, ...]] = {}
        for training in self.trainings:
            found[training.digest] = (*found.get(training.digest, ()), training)
        return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """A training to record."""

    name: str
    candidate: Candidate
    seed: int


def origin_of(plan: Plan) -> Origin:
    """What trainings of a plan depend on besides candidate and seed."""
    return Origin(
        space=plan.job.space,
        fix=dict(plan.job.fix),
        data=plan.dataset.digest,
        protocol={name: value for name, value in plan.protocol.items() if value},
        constraints=dict(plan.settings.constraints),
    )


def record(
    plan: Plan, out: Path, *, trials: int, seeds: int, repeated: int, watch: Watch = lambda *_: None
) -> Table:
    """Train candidates of a job's space to their end, one after another in this process, and keep their curves.

    Presets come first, then candidates drawn evenly from the space, those beyond the job's limits left out; every few of
    them one more seed of an earlier one. What the file holds already is not trained again.

    Args:
        plan: The job.
        out: The table, new or to be continued.
        trials: Different candidates, presets included.
        seeds: Trainings of each of the first ``repeated`` candidates; the others have one.
        repeated: How many candidates have several seeds.
        watch: Told each training.

    Raises:
        TableError: The file is no table, or one of another space, data set or protocol.
    """
    table = Table(origin_of(plan), ())
    if out.exists():
        found = load_table(out)
        if found.origin != table.origin:
            raise TableError(
                f"{out}: {_difference(found.origin, table.origin)}; give --out a new file, or change the job."
            )
        table = found
    wanted = list(work(plan, trials=trials, seeds=seeds, repeated=repeated))
    done = {(training.digest, training.seed) for training in table.trainings}
    for item in wanted:
        if (digest(item.candidate), item.seed) not in done:
            training = _train(plan, item)
            table = Table(table.origin, (*table.trainings, training))
            save_table(table, out)
            watch(training, len(table.trainings), len(wanted))
    return table


def work(plan: Plan, *, trials: int, seeds: int, repeated: int) -> Iterator[Wanted]:
    """What to record, the most useful first; the same for the same job."""
    fresh = list(_candidates(plan, trials))
    again = [
        replace(item, seed=plan.settings.seed + extra)
        for item in fresh[:repeated]
        for extra in range(1, seeds)
    ]
    for number, item in enumerate(fresh, start=1):
        yield item
        if number >= repeated // 2 and number % FRESH_PER_REPEAT == 0 and again:
            yield again.pop(0)
    yield from again


def load_table(path: str | Path) -> Table:
    """Read a table.

    Raises:
        TableError: It is missing, or no table of this version.
    """
    if not Path(path).is_file():
        raise TableError(f"{path}: no such table; 'segsearch table record JOB --out {path}' makes one.")
    try:
        content = pq.read_table(path)
        head = json.loads((content.schema.metadata or {})[METADATA])
    except (pa.ArrowException, OSError, KeyError, ValueError):
        raise TableError(
            f"{path}: no table of recorded trainings; 'segsearch table record' makes one."
        ) from None
    if head["format"] != FORMAT:
        raise TableError(
            f"{path}: a table of format {head['format']}, this version reads {FORMAT}; update segsearch."
        )
    return Table(Origin(**head["origin"]), tuple(_trainings(content.to_pylist())))


def save_table(table: Table, path: Path) -> None:
    """Write a table aside, then put it in place: a reader, or a recording that goes on, finds the old one or the new."""
    rows = [row for training in table.trainings for row in _rows(training)]
    names = sorted({name for row in rows for name in row if name.startswith(METRIC)})
    rows = [dict.fromkeys(names) | row for row in rows]
    content = pa.Table.from_pylist(rows, schema=_schema(names)).replace_schema_metadata(
        {METADATA: json.dumps({"format": FORMAT, "origin": asdict(table.origin)}, sort_keys=True)}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as file:
        pq.write_table(content, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def usable(table: Table, plan: Plan, *, where: str) -> Table:
    """The part of a table that a job may be simulated on: candidates of the job's space.

    Args:
        table: What was recorded.
        plan: The job.
        where: Name of the table, for messages.

    Raises:
        TableError: It was recorded on another space, data set or protocol.
    """
    origin, own = table.origin, origin_of(plan)
    if (origin.space, origin.data, origin.protocol) != (own.space, own.data, own.protocol):
        raise TableError(f"{where}: {_difference(origin, own)}; record another table, or change the job.")
    kept = tuple(training for training in table.trainings if _is_in(plan, training))
    if not kept:
        raise TableError(
            f"{where}: none of its {len(table.by_digest)} candidates lies in the job's space; loosen the job's fix."
        )
    return Table(origin, kept)


def _is_in(plan: Plan, training: Training) -> bool:
    try:
        encode(plan.settings.space, from_json(Candidate, training.candidate))
    except SpaceError:
        return False
    return True


def _difference(table: Origin, job: Origin) -> str:
    """One clause about the first thing that differs."""
    for name, said in (("space", "space"), ("data", "data set"), ("protocol", "protocol"), ("fix", "fix")):
        theirs, ours = getattr(table, name), getattr(job, name)
        if theirs != ours:
            if isinstance(theirs, dict):
                name = next(key for key in sorted({*theirs, *ours}) if theirs.get(key) != ours.get(key))
                said, theirs, ours = f"{said}.{name}", theirs.get(name), ours.get(name)
            return f"it was recorded with {said} {theirs!r}, the job has {ours!r}"
    return f"it was recorded within {table.constraints}, the job has {job.constraints}"


def _candidates(plan: Plan, count: int) -> Iterator[Wanted]:
    settings = plan.settings
    seen: set[str] = set()
    for name, candidate in settings.presets[:count]:
        if isinstance(settings.gate(candidate), str):
            continue
        seen.add(digest(candidate))
        yield Wanted(name, candidate, settings.seed)
    rng = random.Random(derived_seed("table", settings.seed))
    misses = 0
    while len(seen) < count and misses < DRAWS:
        candidate = sample(settings.space, rng)
        profile = settings.gate(candidate)
        limits = settings.constraints.items()
        fits = not isinstance(profile, str) and all(profile[limit] <= most for limit, most in limits)
        if fits and (key := digest(candidate)) not in seen:
            misses = 0
            seen.add(key)
            yield Wanted("", candidate, settings.seed)
        else:
            misses += 1


def _train(plan: Plan, wanted: Wanted) -> Training:
    """One training through the code of a search's legs, with its checkpoints in a folder of its own."""
    candidate = to_json(wanted.candidate)
    epochs: list[RecordedEpoch] = []
    last: str | None = None
    with TemporaryDirectory(prefix="segsearch-table-") as folder:
        leg = Leg(
            search="table",
            trial=0,
            fence=1,
            candidate=candidate,
            seed=wanted.seed,
            first_epoch=0,
            last_epoch=plan.settings.scheduler.max_epochs,
            max_epochs=plan.settings.scheduler.max_epochs,
            checkpoint=None,
            data=plan.view,
            storage=folder,
            threads=1,
            plugins=tuple(plan.job.plugins),
        )
        begun = process_time()
        try:
            open_work(leg)
            startup_s = process_time() - begun
        except Exception:  # run_leg meets it again and says what it is
            startup_s = 0.0
        clock = process_time() + startup_s  # the leg builds all of it once more

        def keep(result: EpochResult) -> None:
            nonlocal clock, last
            loss = result.loss if abs(result.loss) < float("inf") else None
            seconds = max(0.0, process_time() - clock)
            epochs.append(RecordedEpoch(dict(result.metrics), loss, round(seconds, 4)))
            if last is not None:
                delete_checkpoint(last)
            last = result.checkpoint
            clock = process_time()

        ended = run_leg(leg, keep, lambda: False)
        lost_s = 0.0 if ended.status == "completed" else max(0.0, process_time() - clock)
    if ended.status == "failed":
        raise TableError(f"recording {wanted.name or digest(wanted.candidate)}: {ended.message}")
    profile = plan.settings.gate(wanted.candidate)
    assert not isinstance(profile, str)
    return Training(
        candidate=candidate,
        trace=encode(plan.settings.space, wanted.candidate),
        digest=digest(wanted.candidate),
        name=wanted.name,
        seed=wanted.seed,
        parameters=profile["parameters"],
        macs=profile["macs"],
        status=ended.status,
        startup_s=round(startup_s, 4),
        epochs=tuple(epochs),
        lost_s=round(lost_s, 4),
    )


def _schema(metrics: Sequence[str]) -> pa.Schema:
    text, whole, real = pa.string(), pa.int64(), pa.float64()
    fields = {
        "digest": text, "seed": whole, "epoch": whole, "status": text, "name": text, "candidate": text,
        "trace": text, "parameters": real, "macs": real, "startup_seconds": real, "seconds": real, "loss": real,
    }  # fmt: skip
    return pa.schema([*fields.items(), *((name, real) for name in metrics)])


def _rows(training: Training) -> Iterator[dict[str, Any]]:
    """A row an epoch; where one broke, a last row without scores."""
    head = {
        "digest": training.digest,
        "seed": training.seed,
        "status": training.status,
        "name": training.name,
        "candidate": json.dumps(training.candidate, sort_keys=True),
        "trace": json.dumps(training.trace),
        "parameters": training.parameters,
        "macs": training.macs,
        "startup_seconds": training.startup_s,
    }
    for number, epoch in enumerate(training.epochs, start=1):
        scores = {f"{METRIC}{name}": value for name, value in epoch.metrics.items()}
        yield head | {"epoch": number, "seconds": epoch.seconds, "loss": epoch.loss} | scores
    if training.status != "completed":
        yield head | {"epoch": len(training.epochs) + 1, "seconds": training.lost_s, "loss": None}


def _trainings(rows: Sequence[dict[str, Any]]) -> Iterator[Training]:
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["digest"], row["seed"]), []).append(row)
    for group in groups.values():
        head, candidate = group[0], json.loads(group[0]["candidate"])
        broke = head["status"] != "completed"
        scored = sorted(group, key=lambda row: cast(int, row["epoch"]))
        yield Training(
            candidate=candidate,
            trace=json.loads(head["trace"]),
            digest=digest(from_json(Candidate, candidate)),  # its canonical form may have changed since
            name=head["name"],
            seed=head["seed"],
            parameters=head["parameters"],
            macs=head["macs"],
            status=head["status"],
            startup_s=head["startup_seconds"],
            epochs=tuple(_epoch(row) for row in (scored[:-1] if broke else scored)),
            lost_s=scored[-1]["seconds"] if broke else 0.0,
        )


def _epoch(row: dict[str, Any]) -> RecordedEpoch:
    scores = {
        name.removeprefix(METRIC): value
        for name, value in row.items()
        if name.startswith(METRIC) and value is not None
    }
    return RecordedEpoch(scores, row["loss"], row["seconds"])
