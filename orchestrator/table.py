"""Tables: trainings recorded to their end, so that searches can be tried on them in virtual time.

A table is one Parquet file with a row for each epoch. Its metadata says what it was recorded on: space, data, protocol. It is
written anew after each training, aside and then renamed, so it is whole at any moment and a recording that was killed goes on
where it stopped. Seconds are those of the process's CPU clock, which other processes on the machine do not stretch.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.engine.naming import own_name
from orchestrator.errors import OrchestratorError
from orchestrator.plan import Plan
from search_spaces.candidate import Candidate, from_json
from search_spaces.errors import SpaceError
from search_spaces.space import Trace, encode
from workers.contract import JSON, Status

FORMAT = 1
METADATA = b"segsearch"
METRIC = "metric:"  # head of the names of columns that hold scores


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


def origin_of(plan: Plan) -> Origin:
    """What trainings of a plan depend on besides candidate and seed."""
    return Origin(
        space=plan.job.space,
        fix=dict(plan.job.fix),
        data=plan.dataset.digest,
        protocol={name: value for name, value in plan.protocol.items() if value},
        constraints=dict(plan.settings.constraints),
    )


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
        if head["format"] != FORMAT:
            raise TableError(
                f"{path}: a table of format {head['format']}, this version reads {FORMAT}; update segsearch."
            )
        return Table(Origin(**head["origin"]), tuple(_trainings(content.to_pylist(), where=path)))
    except TableError:
        raise
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        raise TableError(
            f"{path}: no table of recorded trainings; 'segsearch table record' makes one."
        ) from None


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


def begun(plan: Plan, out: Path) -> Table:
    """The table of a plan in a file that may exist already; an empty one where it does not.

    Raises:
        TableError: The file is no table, or one of another space, data set or protocol.
    """
    table = load_table(out) if out.exists() else Table(origin_of(plan), ())
    if table.origin != origin_of(plan):
        raise TableError(
            f"{out}: {difference(table.origin, origin_of(plan))}; give --out a new file, or change the job."
        )
    return table


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
        raise TableError(f"{where}: {difference(origin, own)}; record another table, or change the job.")
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


def difference(table: Origin, job: Origin) -> str:
    """One clause about the first thing that differs."""
    for name, said in (("space", "space"), ("data", "data set"), ("protocol", "protocol"), ("fix", "fix")):
        theirs, ours = getattr(table, name), getattr(job, name)
        if theirs != ours:
            if isinstance(theirs, dict):
                name = next(key for key in sorted({*theirs, *ours}) if theirs.get(key) != ours.get(key))
                said, theirs, ours = f"{said}.{name}", theirs.get(name), ours.get(name)
            return f"it was recorded with {said} {theirs!r}, the job has {ours!r}"
    return f"it was recorded within {table.constraints}, the job has {job.constraints}"


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


def _trainings(rows: Sequence[dict[str, Any]], *, where: str | Path) -> Iterator[Training]:
    # Not by digest: two candidates of an earlier version may have become one.
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["candidate"], row["seed"]), []).append(row)
    for group in groups.values():
        head, candidate = group[0], json.loads(group[0]["candidate"])
        broke = head["status"] != "completed"
        scored = sorted(group, key=lambda row: cast(int, row["epoch"]))
        if [row["epoch"] for row in scored] != list(range(1, len(scored) + 1)):
            one = f"candidate {head['digest'][:8]} with seed {head['seed']}"
            raise TableError(f"{where}: the epochs of {one} are not 1, 2, … once each; record it anew.")
        yield Training(
            candidate=candidate,
            trace=json.loads(head["trace"]),
            digest=own_name(candidate) or head["digest"],
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
