"""The two passes of an ingest over one part of a plan, which becomes one shard. They run in any process, on any machine
that sees the source's files and the destination.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workers.data.examine import Finding, Rules, examine
from workers.data.format import Row, digest_line
from workers.data.manifest import ShardInfo
from workers.data.room import AT_ONCE, decoded_bytes, enough_memory
from workers.data.scratch import load_rows, save_rows
from workers.data.writer import encode_shard, publish_shard
from workers.errors import DataError
from workers.label_table import LabelTable
from workers.source import SampleFiles, open_source
from workers.source_pairs import shown
from workers.store import open_store


@dataclass(frozen=True, slots=True)
class CheckTask:
    """The first pass over a part.

    Attributes:
        rules: Of the plan.
        samples: Of one split, in the order of their ids.
        scratch: File for the encoded rows.
    """

    rules: Rules
    samples: tuple[SampleFiles, ...]
    scratch: str

    def held_bytes(self) -> int:
        """Of the case with the largest file while it is read, and of the rows of all."""
        reader = open_source(self.rules.kind)
        sizes = [reader.num_bytes(sample) for sample in self.samples]
        largest = self.samples[sizes.index(max(sizes))]
        return AT_ONCE * decoded_bytes(reader, largest) + ROWS_AT_ONCE * sum(sizes)


@dataclass(frozen=True, slots=True)
class Checked:
    """What the first pass found.

    Attributes:
        findings: Of the samples, in their order.
        crc32: Of the scratch file; None where the rows could not be kept, and have to be read again.
    """

    findings: tuple[Finding, ...]
    crc32: int | None


@dataclass(frozen=True, slots=True)
class WriteTask:
    """The second pass over a part.

    Attributes:
        rules: Of the plan.
        samples: Those that are written, in the order of their ids.
        lines: Of the content digest, one a sample, as the first pass found them.
        scratch, crc32: Where the first pass left its rows.
        digest: Of the data set.
        dest: Location of the data set.
    """

    rules: Rules
    samples: tuple[SampleFiles, ...]
    lines: tuple[str, ...]
    scratch: str
    crc32: int | None
    digest: str
    dest: str

    def held_bytes(self) -> int:
        """Of the rows, or of the cases where these have to be read again."""
        if self.crc32 is None:
            return CheckTask(self.rules, self.samples, self.scratch).held_bytes()
        with suppress(OSError):
            return ROWS_AT_ONCE * Path(self.scratch).stat().st_size
        return 0


ROWS_AT_ONCE = 3  # times the bytes of encoded rows: as they are, in a shard, and on their way


def check_part(task: CheckTask) -> Checked:
    """Read and check every case of a part, and keep the rows of those that are right."""
    reader, table = open_source(task.rules.kind), LabelTable(task.rules.classes)
    findings: list[Finding] = []
    rows: list[Row] = []
    for sample in task.samples:
        examined = examine(reader, sample, task.rules, table, compress=True)
        findings.append(examined.finding)
        if examined.row is not None:
            rows.append(examined.row)
    with enough_memory(reader, task.samples[0]):
        return Checked(tuple(findings), save_rows(task.scratch, rows) if rows else None)


def write_part(task: WriteTask) -> ShardInfo:
    """Write a part's shard, unless the destination has it.

    Raises:
        DataError: Files changed since the first pass, and its rows were not kept; or there is no memory for them.
        StoreError: The destination cannot be written.
    """
    wanted = {sample.id for sample in task.samples}
    with enough_memory(open_source(task.rules.kind), task.samples[0]):
        kept = None if task.crc32 is None else load_rows(task.scratch, task.crc32)
        rows = _read_again(task) if kept is None else [row for row in kept if row.id in wanted]
        info, data = encode_shard(rows, task.digest)
        publish_shard(open_store(task.dest), info, data)
    return info


def _read_again(task: WriteTask) -> list[Row]:
    reader, table = open_source(task.rules.kind), LabelTable(task.rules.classes)
    rows = []
    for sample, line in zip(task.samples, task.lines, strict=True):
        row = examine(reader, sample, task.rules, table, compress=True).row
        if row is None or digest_line(row) != line:
            raise DataError(
                f"{shown(sample.image)}: it or its labels changed while they were ingested; ingest again."
            )
        rows.append(row)
    return rows
