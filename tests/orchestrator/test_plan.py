"""A job bound to its data set: what only the two together can tell."""

import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.events import Event
from orchestrator.engine.order import LegOrder
from orchestrator.engine.proposal import propose
from orchestrator.engine.sampler import History
from orchestrator.engine.state import State
from orchestrator.job import JobError, job_from_json, load_job_document
from orchestrator.plan import Plan, make_plan
from orchestrator.recording import record
from orchestrator.search import leg_of
from orchestrator.slots import Node
from orchestrator.table import TableError
from orchestrator.verbs import run, validate
from orchestrator.winners import measured_precision, recorded_metrics
from search_spaces.memory import training_bytes
from search_spaces.preset import preset_candidates
from search_spaces.space import sample
from search_spaces.zero_cost import score_of

JOB = """\
name: tiny
dataset: {dataset}
data: {{size: [16, 24], batch: 2}}
search: {{screening: {screening}}}
"""


def plan_of(dataset: Path, screening: str) -> Plan:
    path = dataset.parent / "job.yaml"
    path.write_text(JOB.format(dataset=dataset, screening=screening))
    return make_plan(*load_job_document(path))


def test_a_screening_scores_networks_of_the_jobs_size_and_classes(dataset: Path) -> None:
    screening = plan_of(dataset, "{score: naswot, drop: 0.5, among: 4}").settings.screening
    assert screening is not None
    assert (screening.score, screening.drop, screening.among) == ("naswot", 0.5, 4)
    candidate = dict(preset_candidates(plan_of(dataset, "{score: macs}").settings.space))["small_unet"]
    expected = score_of("naswot", candidate.architecture, in_channels=1, num_classes=2, input_size=(16, 24))
    assert screening.measure(candidate) == expected


def test_a_batch_larger_than_an_epoch_is_told_before_any_trial(dataset: Path) -> None:
    path = dataset.parent / "job.yaml"
    path.write_text(f"name: tiny\ndataset: {dataset}\ndata: {{size: [16, 24], batch: 9, epoch_samples: 8}}\n")
    with pytest.raises(JobError, match=r"3:24: data.batch: 9 samples a step, but an epoch has 8; lower it"):
        make_plan(*load_job_document(path))


def test_slices_beside_a_slice_are_channels_of_every_network(dataset: Path) -> None:
    def planned(more: str) -> Plan:
        path = dataset.parent / "around.yaml"
        path.write_text(f"name: tiny\ndataset: {dataset}\ndata: {{batch: 2, {more}}}\n")
        return make_plan(*load_job_document(path))

    alone, around = planned("size: [16, 16]"), planned("size: [16, 16], adjacent_slices: 2")
    candidate = dict(preset_candidates(alone.settings.space))["small_unet"]
    few, many = alone.settings.gate(candidate), around.settings.gate(candidate)
    assert not isinstance(few, str) and not isinstance(many, str) and many["macs"] > few["macs"]
    assert "adjacent_slices" not in alone.protocol and around.protocol["adjacent_slices"] == 2
    with pytest.raises(
        JobError, match=r"3:\d+: data.adjacent_slices: 1 given, but patches have none; leave it out"
    ):
        planned("size: [16, 16, 8], epoch_samples: 4, adjacent_slices: 1")


def test_without_a_screening_nothing_is_scored(dataset: Path) -> None:
    assert plan_of(dataset, "null").settings.screening is None


def with_objectives(dataset: Path, objectives: str) -> Plan:
    path = dataset.parent / "objectives.yaml"
    path.write_text(JOB.format(dataset=dataset, screening="null") + f"objectives: {objectives}\n")
    return make_plan(*load_job_document(path))


def test_what_is_searched_for_is_measured_and_nothing_else(dataset: Path) -> None:
    default = with_objectives(dataset, "{maximize: [dice, miou, iou/background]}")
    assert default.measures == () and "metrics" not in default.protocol  # as results of every version
    counted = with_objectives(dataset, "{maximize: [recall], minimize: [parameters]}")
    assert counted.measures == () and counted.protocol["metrics"] == ["recall"]
    far = with_objectives(dataset, "{maximize: [case_boundary_f1], minimize: [hd95, ece/background]}")
    assert far.measures == ("boundary", "calibration", "surface")
    assert far.protocol["metrics"] == ["case_boundary_f1", "ece/background", "hd95"]
    assert {**far.protocol, "metrics": None} == {**default.protocol, "metrics": None}


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        (
            "{maximize: [hd95]}",
            ":5:25: objectives.maximize.0: less of 'hd95' is better; name it under minimize.",
        ),
        (
            "{minimize: [boundary_f1]}",
            ":5:25: objectives.minimize.0: more of 'boundary_f1' is better; name it under maximize.",
        ),
        ("{minimize: [dice]}", "more of 'dice' is better; name it under maximize."),
        (
            "{minimize: [hd59]}",
            "unknown objective 'hd59'; did you mean 'hd95'? Known: accuracy, asd, boundary_f1,",
        ),
        ("{maximize: [hd95/tumour]}", ", macs, worker_seconds, latency_ms, and METRIC/CLASS."),
    ],
)
def test_an_objective_that_cannot_be_meant_is_named_with_its_place(
    dataset: Path, objectives: str, expected: str
) -> None:
    with pytest.raises(JobError) as caught:
        with_objectives(dataset, objectives)
    [line] = caught.value.lines()
    assert expected in line


def test_an_unknown_score_is_named_with_the_nearest_and_its_place(dataset: Path) -> None:
    with pytest.raises(JobError) as caught:
        plan_of(dataset, "{score: synflo}")
    [line] = caught.value.lines()
    assert line.endswith(
        ":4:22: search.screening.score: unknown zero-cost score 'synflo'; did you mean 'synflow'? "
        "Known: jacob_cov, macs, naswot, parameters, synflow."
    )


def test_memory_is_estimated_where_it_is_limited(dataset: Path) -> None:
    plain = plan_of(dataset, "null")
    path = dataset.parent / "limited.yaml"
    path.write_text(JOB.format(dataset=dataset, screening="null") + "constraints: {memory_bytes: 1.0e6}\n")
    limited = make_plan(*load_job_document(path))
    candidate = dict(preset_candidates(plain.settings.space))["small_unet"]
    numbers, more = plain.settings.gate(candidate), limited.settings.gate(candidate)
    assert not isinstance(numbers, str) and not isinstance(more, str)
    expected = training_bytes(
        candidate.architecture, in_channels=1, num_classes=2, input_size=(16, 24), batch=2
    )
    assert {**numbers, "memory_bytes": float(expected)} == more
    half = limited.settings.gate(replace(candidate, recipe=replace(candidate.recipe, precision="bf16")))
    assert not isinstance(half, str) and half["memory_bytes"] != expected
    proposal = propose(limited.settings, State(limited.settings.objectives), History((), (1,)))
    assert proposal.rejected[0].body["limit"] == "memory_bytes"
    assert proposal.rejected[0].body["value"] > 1e6


def measuring(dataset: Path, more: str = "") -> Plan:
    path = dataset.parent / "measuring.yaml"
    path.write_text(
        JOB.format(dataset=dataset, screening="null") + f"resources: {{precision: measured}}\n{more}"
    )
    return make_plan(*load_job_document(path), nodes=(Node("cards", 4, 2),))


def test_a_measured_precision_is_no_choice_and_part_of_the_protocol(dataset: Path) -> None:
    """Memory is that of the worst, as both are tried; a job that pins one asks for something else."""
    measured = measuring(dataset, "constraints: {memory_bytes: 1.0e9}\n")
    assert measured.job.fix == {"recipe.precision": "fp32"}
    drawn = (sample(measured.settings.space, random.Random(seed)) for seed in range(8))
    assert {candidate.recipe.precision for candidate in drawn} == {"fp32"}
    assert measured.protocol == {**plan_of(dataset, "null").protocol, "precision": "measured"}
    candidate = dict(measured.settings.presets)["small_unet"]
    numbers = measured.settings.gate(candidate)
    given: dict[str, Any] = {"in_channels": 1, "num_classes": 2, "input_size": (16, 24), "batch": 2}
    each = [training_bytes(candidate.architecture, **given, precision=p) for p in ("fp32", "bf16")]
    assert not isinstance(numbers, str) and numbers["memory_bytes"] == max(each) > min(each)
    order = LegOrder(0, 1, {}, 0, 0, 1, 1, None, 1.0, "search")
    assert leg_of(order, measured).precision == "measured"
    assert leg_of(order, plan_of(dataset, "null")).precision == "chosen"
    again = make_plan(job_from_json(measured.job.to_json()))
    assert again.protocol == measured.protocol
    with pytest.raises(
        JobError, match=r"'bf16' given, but with resources\.precision: measured each trial decides"
    ):
        measuring(dataset, "fix: {recipe.precision: bf16}\n")


def test_an_export_says_in_what_a_measured_trial_was_trained_and_measures_no_times_again() -> None:
    def epochs(*metrics: dict[str, float]) -> list[Event]:
        return [Event(n, "epoch", 1, 0.0, {"trial": 3, "metrics": told}) for n, told in enumerate(metrics)]

    times = {"bf16": 1.0, "step_ms/fp32": 12.34, "step_ms/bf16": 5.0}
    measured = epochs({"dice": 0.5, **times}, {"dice": 0.6})
    assert measured_precision(measured, 3) == {"trained_in": "bf16 (a step: 12.3 ms in fp32, 5 ms in bf16)"}
    assert recorded_metrics(measured[:1], 3) == {"dice": 0.5}
    assert measured_precision(epochs({"bf16": 0.0}), 3) == {"trained_in": "fp32"}
    assert measured_precision(epochs({"dice": 0.5}), 3) == {} == measured_precision([], 3)


def test_a_limit_that_only_epochs_tell_is_not_asked_of_the_gate(dataset: Path) -> None:
    path = dataset.parent / "timed.yaml"
    path.write_text(
        JOB.format(dataset=dataset, screening="null") + "constraints: {parameters: 1.0e6, latency_ms: 20}\n"
    )
    plan = make_plan(*load_job_document(path))
    assert plan.settings.limits == {"latency_ms": 20.0} and plan.settings.constraints == {"parameters": 1e6}
    assert plan.latency and not plan_of(dataset, "null").latency


def test_a_pin_may_hang_on_a_decision_that_another_pin_takes(dataset: Path) -> None:
    def with_fix(fix: str) -> Plan:
        path = dataset.parent / "fixed.yaml"
        path.write_text(JOB.format(dataset=dataset, screening="null") + f"space: losses\nfix: {fix}\n")
        return make_plan(*load_job_document(path))

    both = with_fix("{loss.terms.1.log_ratio: 0.0, loss.terms.1.term.kind: dice}")
    names = {name for name, _ in both.settings.presets}
    assert "focal_dice" in names and "focal" in names
    with pytest.raises(JobError) as caught:
        with_fix("{loss.terms.1.log_ratio: 0.0, loss.terms.1.term.kind: dise}")
    (problem,) = [str(problem) for problem in caught.value.problems if "term.kind" in str(problem)]
    assert "dise" in problem


def with_search(dataset: Path, search: str, objectives: str = "{maximize: [dice]}") -> Plan:
    path = dataset.parent / "search.yaml"
    text = f"name: tiny\ndataset: {dataset}\ndata: {{size: [16, 24], batch: 2}}\nsearch: {search}\n"
    path.write_text(text + f"objectives: {objectives}\n")
    return make_plan(*load_job_document(path))


def test_weights_are_inherited_where_a_sampler_makes_children(dataset: Path) -> None:
    assert with_search(dataset, "{sampler: evolution, inherit: true}").settings.inherit
    assert not with_search(dataset, "{sampler: evolution}").settings.inherit
    several = "{maximize: [dice], minimize: [parameters]}"
    assert with_search(dataset, "{inherit: true}", several).settings.inherit  # auto is Pareto evolution then
    for sampler in ("tpe", "auto", "local"):
        with pytest.raises(JobError, match=r"makes no children of trials.*\(evolution, pareto_evolution\)"):
            with_search(dataset, f"{{sampler: {sampler}, inherit: true}}")
    with pytest.raises(JobError, match="repeats and inherit exclude each other"):
        with_search(dataset, "{sampler: evolution, inherit: true, repeats: 1}")


def test_a_table_is_not_recorded_for_a_job_that_inherits(dataset: Path, tmp_path: Path) -> None:
    plan = with_search(dataset, "{sampler: evolution, inherit: true}")
    with pytest.raises(TableError, match=r"search\.inherit: a table holds trainings"):
        record(plan, tmp_path / "table.parquet", trials=1, seeds=1, repeated=0)


def test_limits_that_nobody_meets_are_told_before_anything_is_written(dataset: Path) -> None:
    path = dataset.parent / "job.yaml"
    job = JOB.format(dataset=dataset, screening="{score: naswot, drop: 0.5, among: 4}")
    path.write_text(f"{job}storage: {dataset.parent / 'runs'}\nconstraints: {{parameters: 500}}\n")
    with pytest.raises(JobError) as caught:
        run(path)
    (problem,) = caught.value.problems
    assert problem.path == "constraints" and problem.line == 6
    assert re.fullmatch(
        "the search could not begin: no candidate is within all limits: "
        r"constraints.parameters of 500 turned down 203, the closest with [\d,]+\.",
        problem.message,
    )
    assert not (dataset.parent / "runs").exists()
    path.write_text(f"{job}constraints: {{parameters: 1.0e5}}\n")  # beyond the presets, but met by others
    assert validate(path).settings.constraints == {"parameters": 1e5}
