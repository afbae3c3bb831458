"""Reading all labels of a plan before any case is checked, where only the labels tell which classes there are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from workers.data.room import AT_ONCE, decoded_bytes, enough_memory
from workers.data.spread import Spread
from workers.errors import DataError
from workers.source import Array, SampleFiles, Source, SourcePlan, open_source
from workers.source_sets import MOST_SETS, kept, with_found

CASES = 16  # of one task
KEPT_BYTES = 2**28
"""Of packed labels in memory, so that they are read once; those of further cases are read again."""


@dataclass(frozen=True, slots=True)
class ScanTask:
    """Some cases of a plan of the source of this kind."""

    kind: str
    samples: tuple[SampleFiles, ...]

    def held_bytes(self) -> int:
        """As ``CheckTask``."""
        reader = open_source(self.kind)
        return AT_ONCE * max(decoded_bytes(reader, sample) for sample in self.samples)


@dataclass(frozen=True, slots=True)
class Scanned:
    """What was found.

    Attributes:
        values: Labels that occur.
        labels: Of each case, packed; None of volumes, and where they are damaged, which the check of the case says.
    """

    values: frozenset[int]
    labels: tuple[bytes | None, ...]


def scan_part(task: ScanTask) -> Scanned:
    """Read the labels of some cases.

    Raises:
        DataError: There is no memory for them.
    """
    reader = open_source(task.kind)
    values: set[int] = set()
    packed: list[bytes | None] = []
    for sample in task.samples:
        with enough_memory(reader, sample):
            labels = _labels(reader, sample)
        if labels is None:
            packed.append(None)
            continue
        values.update(map(int, np.unique(labels)))
        packed.append(kept(labels) if labels.ndim == 2 else None)
    return Scanned(frozenset(values), tuple(packed))


def _labels(reader: Source, sample: SampleFiles) -> Array | None:
    try:
        return reader.read_sets(sample)
    except (DataError, PermissionError):  # which the check of the case says again
        return None


def scanned(plan: SourcePlan, kind: str, spread: Spread) -> SourcePlan:
    """A plan with the classes that its labels have; a plan that knows its classes stays as it is.

    Raises:
        DataError: A file cannot be read.
    """
    if not plan.sets or len(plan.sets) > MOST_SETS:
        return plan
    tasks = [
        ScanTask(kind, plan.samples[start : start + CASES]) for start in range(0, len(plan.samples), CASES)
    ]
    found = dict(spread.each(scan_part, tasks))
    values = {value for part in found.values() for value in part.values}
    labels = [one for number in range(len(tasks)) for one in found[number].labels]
    return with_found(replace(plan, samples=_with_labels(plan.samples, labels)), values)


def _with_labels(samples: Sequence[SampleFiles], labels: Sequence[bytes | None]) -> tuple[SampleFiles, ...]:
    room = KEPT_BYTES
    held: list[SampleFiles] = []
    for sample, packed in zip(samples, labels, strict=True):
        room -= len(packed or b"")
        held.append(sample if room < 0 else replace(sample, known=packed))
    return tuple(held)
