"""Tables: recorded through the code of legs, continued after an interruption, refused where they do not fit."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.job import load_job
from orchestrator.plan import Plan, make_plan
from orchestrator.recording import record, work
from orchestrator.table import Table, TableError, Training, load_table, save_table, usable
from search_spaces.candidate import Candidate, digest, from_json

JOB = """\
name: tiny
dataset: {dataset}
data: {{size: [16, 16], batch: 4, epoch_samples: 8}}
fix: {{{more}}}
constraints: {{parameters: 60000}}
search: {{scheduler: {{kind: asha, max_epochs: 2}}, presets: false}}
"""


@pytest.fixture(scope="module")
def plan(dataset: Path) -> Plan:
    return plan_of(dataset)


@pytest.fixture(scope="module")
def recorded(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Table]:
    """A recording that broke off after its first training, and went on."""
    path = tmp_path_factory.mktemp("table") / "tiny.parquet"

    def break_off(training: Training, done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(plan, path, trials=2, seeds=2, repeated=1, watch=break_off)
    first = load_table(path)
    assert len(first.trainings) == 1
    table = record(plan, path, trials=2, seeds=2, repeated=1)
    assert table.trainings[0] == first.trainings[0]
    return path, table


def plan_of(dataset: Path, more: str = "recipe.optimiser: adamw", old: str = "", new: str = "") -> Plan:
    job = dataset.parent / "job.yaml"
    job.write_text(
        JOB.format(dataset=dataset, more=more).replace(old, new)
        if old
        else JOB.format(dataset=dataset, more=more)
    )
    return make_plan(load_job(job))


def test_a_table_holds_whole_curves_with_seconds_and_reads_back_as_it_was(
    plan: Plan, recorded: tuple[Path, Table]
) -> None:
    path, table = recorded
    assert load_table(path) == table
    assert len(table.by_digest) == 2 and len(table.trainings) == 3
    for training in table.trainings:
        assert training.status == "completed" and len(training.epochs) == 2
        assert all(0 <= epoch.metrics["dice"] <= 1 and epoch.seconds > 0 for epoch in training.epochs)
        assert 0 < training.parameters <= 60_000 and training.macs > 0
        assert digest(from_json(Candidate, training.candidate)) == training.digest
    one, two = next(group for group in table.by_digest.values() if len(group) == 2)
    assert (one.seed, two.seed) == (0, 1) and one.epochs != two.epochs


def test_what_is_recorded_is_not_trained_again(plan: Plan, recorded: tuple[Path, Table]) -> None:
    path, table = recorded
    before = path.stat().st_mtime_ns
    assert record(plan, path, trials=2, seeds=2, repeated=1) == table
    assert path.stat().st_mtime_ns == before


def test_the_work_is_the_same_each_time_and_its_beginning_does_not_depend_on_its_length(plan: Plan) -> None:
    short = list(work(plan, trials=9, seeds=3, repeated=4))
    longer = list(work(plan, trials=12, seeds=3, repeated=4))
    assert len(short) == 9 + 2 * 4
    assert short[:9] == longer[:9]
    assert list(work(plan, trials=9, seeds=3, repeated=4)) == short
    assert len({(digest(item.candidate), item.seed) for item in short}) == len(short)


def test_a_training_that_broke_keeps_its_whole_epochs_and_what_was_lost(
    recorded: tuple[Path, Table], tmp_path: Path
) -> None:
    table = recorded[1]
    first = table.trainings[0]
    broken = replace(first, status="diverged", epochs=first.epochs[:1], lost_s=1.5, seed=7)
    at_once = replace(first, status="diverged", epochs=(), lost_s=0.5, seed=8)
    made = Table(table.origin, (first, broken, at_once))
    save_table(made, tmp_path / "broken.parquet")
    assert load_table(tmp_path / "broken.parquet") == made
    assert at_once.seconds == pytest.approx(first.startup_s + 0.5)


def test_a_table_of_something_else_is_refused_in_one_sentence(
    dataset: Path, recorded: tuple[Path, Table], tmp_path: Path
) -> None:
    path, table = recorded
    narrower = plan_of(dataset, "recipe.optimiser: sgd")
    with pytest.raises(
        TableError, match=r"fix\.recipe\.optimiser 'adamw', the job has 'sgd'; give --out a new file"
    ):
        record(narrower, path, trials=1, seeds=1, repeated=0)
    with pytest.raises(TableError, match="none of its 2 candidates lies in the job's space"):
        usable(table, narrower, where="t")
    longer = plan_of(dataset, old="max_epochs: 2", new="max_epochs: 3")
    with pytest.raises(TableError, match=r"protocol\.max_epochs 2, the job has 3; record another table"):
        usable(table, longer, where="t")
    elsewhere = Table(replace(table.origin, data="0" * 64), table.trainings)
    with pytest.raises(TableError, match="t: it was recorded with data set '0000"):
        usable(elsewhere, plan_of(dataset), where="t")
    (tmp_path / "no.parquet").write_text("nothing")
    with pytest.raises(TableError, match="no table of recorded trainings"):
        load_table(tmp_path / "no.parquet")
    with pytest.raises(TableError, match="no such table"):
        load_table(tmp_path / "missing.parquet")
    content = pq.read_table(path)
    pq.write_table(pa.concat_tables([content, content]), tmp_path / "twice.parquet")
    with pytest.raises(TableError, match=r"the epochs of candidate .* are not 1, 2, … once each"):
        load_table(tmp_path / "twice.parquet")
    for head in ({}, [], {"format": 1}, {"format": 1, "origin": {"space": "compact"}}):
        foreign = pa.table({"digest": ["a"]}).replace_schema_metadata({b"segsearch": json.dumps(head)})
        pq.write_table(foreign, tmp_path / "foreign.parquet")
        with pytest.raises(TableError, match="no table of recorded trainings"):
            load_table(tmp_path / "foreign.parquet")
