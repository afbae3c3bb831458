"""What tests of published layouts ask of a folder."""

from pathlib import Path

import numpy as np
import pytest

from workers.data.ingest import ingest
from workers.data.placement import place
from workers.errors import DataError
from workers.label_table import LabelTable
from workers.source import SourcePlan, open_source, recognise


def plan_of(folder: Path) -> SourcePlan:
    return place(open_source(recognise(folder)).plan(folder), folder)


def indices(folder: Path, number: int = 0) -> np.ndarray:
    """Class indices of a case, as training sees them."""
    source = open_source(recognise(folder))
    plan = source.plan(folder)
    labels = source.read(plan.samples[number]).labels
    table = LabelTable(plan.classes)
    assert table.problem(labels, where="x") is None
    return table.indices(labels)


def splits(plan: SourcePlan) -> dict[str, int]:
    found = [sample.split or "" for sample in plan.samples]
    return {name: found.count(name) for name in ("train", "validation", "test")}


def problems_of(folder: Path, dest: Path) -> tuple[str, ...]:
    with pytest.raises(DataError, match="nothing was written") as caught:
        ingest(folder, str(dest))
    assert not dest.exists()
    return caught.value.problems
