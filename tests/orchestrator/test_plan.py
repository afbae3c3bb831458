"""A job bound to its data set: what only the two together can tell."""

from pathlib import Path

import pytest

from orchestrator.engine.proposal import propose
from orchestrator.engine.sampler import History
from orchestrator.engine.state import State
from orchestrator.job import JobError, load_job_document
from orchestrator.plan import Plan, make_plan
from search_spaces.memory import training_bytes
from search_spaces.preset import preset_candidates
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


def test_without_a_screening_nothing_is_scored(dataset: Path) -> None:
    assert plan_of(dataset, "null").settings.screening is None


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
    proposal = propose(limited.settings, State(limited.settings.objectives), History((), (1,)))
    assert proposal.rejected[0].body["limit"] == "memory_bytes"
    assert proposal.rejected[0].body["value"] > 1e6
