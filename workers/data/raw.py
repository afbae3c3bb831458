"""Cases straight from the files of a source, as a proof needs them: the same as an ingested data set would give."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from workers.data.dataset import Case
from workers.data.format import stored_spacing
from workers.data.placement import read_plan
from workers.data.spread import LocalSpread
from workers.errors import DataError
from workers.label_table import LabelTable
from workers.source import first_five, open_source, recognise
from workers.source_pairs import shown


def raw_cases(
    folder: Path, ids: Sequence[str], *, source: str | None = None, classes: Sequence[str] = ()
) -> Iterator[Case]:
    """Read these cases of a source folder, one at a time, in this order.

    Args:
        folder: Images and labels in a known layout.
        ids: Cases that are wanted.
        source: Kind of the layout; None recognises it.
        classes: Their names in the data set, if they are known: where only labels tell the classes, those of all cases
            need not be read for it.

    Raises:
        DataError: No known layout, cases that it lacks, a damaged file, or labels without a class.
    """
    reader = open_source(source or recognise(folder))
    with LocalSpread(1) as alone:
        plan = read_plan(reader, folder, alone, classes=classes)
    samples = {sample.id: sample for sample in plan.samples}
    missing = [id for id in ids if id not in samples]
    if missing:
        raise DataError(
            f"{folder}: {first_five('cases are not there', missing)}; give the folder that was ingested."
        )
    table = LabelTable(plan.classes)
    for id in ids:
        sample = samples[id]
        raw = reader.read(sample)
        problem = table.problem(raw.labels, where=shown(sample.labels))
        if problem is not None:
            raise DataError(f"{problem}.")
        yield Case(
            id=id,
            split=sample.split or "",
            image=raw.image,
            labels=table.indices(raw.labels),
            spacing=stored_spacing(raw.spacing),
            affine=raw.affine,
            group=sample.group,
        )
