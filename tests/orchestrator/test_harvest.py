"""A table from a search: what it trained to the end is in it as it was measured, and jobs can be played on it."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from orchestrator import verbs
from orchestrator.cli.main import run as run_command
from orchestrator.engine.trial import Parent
from orchestrator.harvest import harvest
from orchestrator.job import load_job
from orchestrator.journal import Journal
from orchestrator.lead import Place
from orchestrator.places import journal_url
from orchestrator.plan import Plan, make_plan
from orchestrator.playground import Playground
from orchestrator.reading import epoch_bodies, state_of
from orchestrator.slots import this_machine
from orchestrator.table import TableError, load_table

JOB = """\
name: tiny
dataset: {dataset}
data: {{size: [16, 16], batch: 4, epoch_samples: 8, loader_workers: 0}}
fix: {{recipe.optimiser: adamw}}
constraints: {{parameters: 60000}}
search: {{sampler: random, scheduler: {{kind: asha, max_epochs: 2, reduction: 2}}, presets: false}}
budget: {{trials: 4}}
resources: {{cpus: 1}}
retrain: {{top: 0}}
storage: {storage}
"""


@dataclass
class Searched:
    """A finished search, its plan and its journal."""

    file: Path
    plan: Plan
    journal: Journal


@pytest.fixture(scope="module")
def searched(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    folder = tmp_path_factory.mktemp("harvest")
    file = folder / "job.yaml"
    file.write_text(JOB.format(dataset=dataset, storage=folder / "runs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SEGSEARCH_JOURNAL", raising=False)
        verbs.run(file, place=Place(in_process=True, track=False))
        plan = make_plan(load_job(file), nodes=this_machine())
        return Searched(file, plan, Journal(journal_url(plan.job.storage)))


def changed(searched: Searched, old: str, new: str) -> Plan:
    text = searched.file.read_text()
    assert old in text
    other = searched.file.with_name("other.yaml")
    other.write_text(text.replace(old, new))
    return make_plan(load_job(other), nodes=this_machine())


def test_full_trainings_are_taken_as_they_were_and_the_rest_is_counted(
    searched: Searched, tmp_path: Path
) -> None:
    out = tmp_path / "table.parquet"
    found = harvest(searched.plan, searched.journal, ["tiny"], out)
    written = searched.journal.read("tiny")
    trials = list(state_of(written).of("search"))
    whole = [trial for trial in trials if trial.epoch == 2]
    assert 0 < len(whole) < len(trials)
    assert found.taken == len(whole) and dict(found.left) == {"unfinished": len(trials) - len(whole)}
    assert load_table(out) == found.table
    bodies = epoch_bodies(written)
    for trial, training in zip(whole, found.table.trainings, strict=True):
        assert (training.digest, training.seed, training.status) == (trial.digest, trial.seed, "completed")
        assert [e.metrics for e in training.epochs] == [body["metrics"] for body in bodies[trial.number]]
        spent = sum(e.seconds for e in training.epochs)
        assert spent == pytest.approx(trial.cost.work, abs=1e-3)
        assert 0 < training.startup_s <= trial.cost.startup + 1e-3


def test_what_a_table_holds_is_not_taken_twice(searched: Searched, tmp_path: Path) -> None:
    out = tmp_path / "table.parquet"
    first = harvest(searched.plan, searched.journal, ["tiny"], out)
    again = harvest(searched.plan, searched.journal, ["tiny", "tiny"], out)
    assert again.taken == 0 and again.left["known"] == 2 * first.taken
    assert again.table == first.table


def test_a_job_can_be_played_on_it(searched: Searched, tmp_path: Path) -> None:
    table = harvest(searched.plan, searched.journal, ["tiny"], tmp_path / "table.parquet").table
    played = Playground(searched.plan.settings.space, table).play(searched.plan.settings, workers=1)
    best = max(epoch.metrics["dice"] for training in table.trainings for epoch in training.epochs)
    assert played.trials == len(table.trainings)
    assert played.steps[-1].best == best


def test_trials_that_mean_something_else_stay_out(
    searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator import harvest as module

    trials = list(state_of(searched.journal.read("tiny")).of("search"))
    whole = [trial for trial in trials if trial.epoch == 2]
    narrow = changed(searched, "recipe.optimiser: adamw", "recipe.optimiser: sgd")
    with pytest.raises(TableError, match=rf"no full training to record \(.*{len(whole)} outside"):
        harvest(narrow, searched.journal, ["tiny"], tmp_path / "none.parquet")
    assert not (tmp_path / "none.parquet").exists()
    cut = replace(whole[0], memory_failures=1)
    heir = replace(whole[0], parent=Parent(0, 1, ""), inherited=0.5)
    assert module._training(searched.plan, cut, [], []) == "memory"
    assert module._training(searched.plan, heir, [], []) == "inherited"


def test_a_search_under_another_protocol_is_refused_in_one_sentence(
    searched: Searched, tmp_path: Path
) -> None:
    longer = changed(searched, "max_epochs: 2", "max_epochs: 3")
    with pytest.raises(TableError, match=r"search 'tiny' ran with max_epochs 2, the job has 3; leave"):
        harvest(longer, searched.journal, ["tiny"], tmp_path / "t.parquet")
    harvest(searched.plan, searched.journal, ["tiny"], tmp_path / "t.parquet")
    pinned = changed(searched, "recipe.optimiser: adamw", "recipe.optimiser: adamw, recipe.schedule: cosine")
    with pytest.raises(TableError, match=r"was recorded with fix\.recipe\.schedule None"):
        harvest(pinned, searched.journal, ["tiny"], tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="other"):
        harvest(searched.plan, searched.journal, ["other"], tmp_path / "t.parquet")


def test_how_many_to_train_is_refused_where_nothing_is_trained(
    searched: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.parquet"
    words = ["table", "record", str(searched.file), "--out", str(out), "--from", "tiny"]
    assert run_command([*words, "--trials", "3"]) == 2 and not out.exists()
    assert "--from: nothing is trained; leave out --trials" in capsys.readouterr().err
    assert run_command(words) == 0 and out.exists()
