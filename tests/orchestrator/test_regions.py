"""Regions in a job: what is wrong is said before training, what they change in a plan, and that else nothing changes."""

from pathlib import Path

import pytest

from orchestrator.job import JobError, job_from_json, load_job_document
from orchestrator.plan import Plan, make_plan
from orchestrator.warm_start import Target
from search_spaces.loss import Loss, Weighted
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.topology import Topology
from search_spaces.preset import load_preset
from search_spaces.profile import profile
from search_spaces.regions import Region
from workers.region_names import make_regions, region_problems

BRATS = ("background", "core", "oedema", "enhancing")
NO_NAME = (
    "'a/b' is no name of a region; allowed are 1 to 40 letters, digits, '_' and '-', the first a letter or digit, "
    "but not background, other, unlabeled, overlay, mean."
)
ROAD = ("sky", "car", "lorry")

JOB = """\
name: tiny
dataset: {dataset}
data:
  size: [16, 24]
  batch: 2
  regions: {regions}
objectives: {{maximize: [{objective}]}}
"""


def plan_of(dataset: Path, regions: str, objective: str = "dice") -> Plan:
    path = dataset.parent / "job.yaml"
    path.write_text(JOB.format(dataset=dataset, regions=regions, objective=objective))
    return make_plan(*load_job_document(path))


@pytest.mark.parametrize(
    ("wanted", "names", "place", "message"),
    [
        (
            {"whole": []},
            BRATS,
            ("whole",),
            "is empty; name the classes that it unites: core, oedema, enhancing.",
        ),
        (
            {"whole": ["core", "odema"]},
            BRATS,
            ("whole", 1),
            "unknown class of the data set 'odema'; did you mean 'oedema'? Known: core, enhancing, oedema.",
        ),
        (
            {"whole": ["background", "core"]},
            BRATS,
            ("whole", 0),
            "'background' is what lies outside of all regions; leave it out.",
        ),
        ({"whole": ["core", "core"]}, BRATS, ("whole", 1), "'core' is named twice; keep one."),
        (
            {"one": ["core", "oedema"], "two": ["oedema", "core"]},
            BRATS,
            ("two",),
            "holds the same classes as 'one'; keep one of the two.",
        ),
        (
            {"all": ["sky", "car", "lorry"]},
            ROAD,
            ("all",),
            "holds every class of the data set, so there is nothing to tell apart; leave some out.",
        ),
        (
            {"a/b": ["core"]},
            BRATS,
            ("a/b",),
            NO_NAME,
        ),
    ],
)
def test_regions_that_cannot_be_meant_are_named_with_their_place(
    wanted: dict[str, list[str]], names: tuple[str, ...], place: tuple[str | int, ...], message: str
) -> None:
    assert list(region_problems(wanted, names)) == [(place, message)]


@pytest.mark.parametrize("name", ["Background", "overlay", "mean", "", "-a", "ü", "a b", "x" * 41])
def test_a_region_has_a_name_for_files_and_metrics(name: str) -> None:
    assert [place for place, _ in region_problems({name: ["core"]}, BRATS)] == [(name,)]


def test_the_order_of_channels_does_not_depend_on_the_job() -> None:
    wanted = {
        "enhancing": ["enhancing"],
        "whole": ["oedema", "enhancing", "core"],
        "core": ["enhancing", "core"],
    }
    expected = (Region("whole", (1, 2, 3)), Region("core", (1, 3)), Region("enhancing", (3,)))
    assert make_regions(wanted, BRATS) == make_regions(dict(reversed(wanted.items())), BRATS) == expected
    assert not list(region_problems(wanted, BRATS))
    assert not list(
        region_problems({"ground": ["car", "sky"]}, ROAD)
    )  # there the first class is one like others


def test_a_plan_with_regions_has_a_channel_and_metrics_for_each(dataset: Path) -> None:
    plan = plan_of(dataset, "{target: [box]}", "iou/target")
    assert plan.view.regions == (Region("target", (1,)),) and plan.protocol["regions"] == {"target": [1]}
    settings = plan.settings
    candidate = load_preset("small_unet").candidate()
    numbers = settings.gate(candidate)
    one = profile(candidate.architecture, in_channels=1, num_classes=1, input_size=(16, 24))
    assert not isinstance(numbers, str) and numbers["parameters"] == one.parameters
    assert settings.loss_gate is not None
    fault = settings.loss_gate(Loss((Weighted(CrossEntropy()), Weighted(Topology(inner=2, outer=1)))))
    assert fault is not None and "classes under 2 are allowed" in fault.message
    read = job_from_json(plan.job.to_json())
    assert read == plan.job and read.data.regions == {"target": ["box"]}


def test_without_regions_nothing_changes(dataset: Path) -> None:
    """Neither the protocol, from which digests of trainings come, nor what a job of before means."""
    plain = plan_of(dataset, "null")
    assert plain.view.regions == () and "regions" not in plain.protocol
    asked = plain.job.to_json()
    del asked["data"]["regions"]
    assert job_from_json(asked) == plain.job
    assert plan_of(dataset, "{}").protocol == plain.protocol
    with_regions = plan_of(dataset, "{target: [box]}")
    assert with_regions.protocol == {**plain.protocol, "regions": {"target": [1]}}
    assert Target.of(with_regions).protocol != Target.of(plain).protocol


@pytest.mark.parametrize(
    ("regions", "objective", "expected"),
    [
        ("{target: [bx]}", "dice/x", ":6:22: data.regions.target.0: unknown class of the data set 'bx'; did you mean 'box'?"),
        ("{target: [box]}", "dice/box", "unknown objective 'dice/box'"),
        ("{target: [box]}", "dice/targt", "did you mean 'dice/target'?"),
        ("{target: [box]}", "hd59", "and METRIC/REGION."),
        ("{target: [box]}", "v_rand", "'v_rand' looks at all classes at once, and regions may overlap; choose another metric."),
        ("{target: [box]}", "fwiou", "'fwiou' looks at all classes at once"),
        ("[target]", "dice", ":6:3: data.regions: expected a mapping, got ['target']."),
        ("{target: box}", "dice", ":6:13: data.regions.target: expected a list of text, got 'box'."),
        ("{target: [box], target: [box]}", "dice", "data.regions"),
    ],
)  # fmt: skip
def test_bad_regions_in_a_job(dataset: Path, regions: str, objective: str, expected: str) -> None:
    with pytest.raises(JobError) as caught:
        plan_of(dataset, regions, objective)
    assert len(caught.value.problems) == 1 and expected in str(caught.value)
