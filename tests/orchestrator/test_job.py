"""Job files: what is read, and that everything wrong is said at once with its place."""

from pathlib import Path

import pytest

from orchestrator.duration import duration_s
from orchestrator.job import JobError, job_from_json, load_job

GOOD = """
name: hippocampus
dataset: data/hippocampus
data: {size: [64, 64], batch: 16}
constraints: {parameters: 2.0e6}
search: {sampler: tpe, scheduler: {kind: asha, max_epochs: 9}}
budget: {trials: 24, wall: 90s}
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(JobError) as caught:
        load_job(path)
    return [line.removeprefix(str(path) + ":") for line in caught.value.lines()]


def test_a_good_job_keeps_its_values_and_survives_json(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(GOOD)
    job = load_job(path)
    assert (job.name, job.data.size, job.constraints, job.budget.wall_s) == (
        "hippocampus",
        [64, 64],
        {"parameters": 2_000_000.0},
        90.0,
    )
    assert job_from_json(job.to_json()) == job


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: empty; 'segsearch init FOLDER' writes a job file to start from."),
        ("# nothing\n", "1:1: empty; 'segsearch init FOLDER' writes a job file to start from."),
        ("- a\n", "1:1: expected a mapping at the top, got a list."),
        ("name: [\n", "2:1: not valid YAML: expected the node content, but found '<stream end>'."),
        ("a: &x 3\n", "1:4: anchors and aliases are not allowed; write the value out."),
        ("a: *x\n", "1:4: anchors and aliases are not allowed; write the value out."),
        (
            "a: !!python/object:os.system x\n",
            "1:4: tags are not allowed, got 'tag:yaml.org,2002:python/object:os.system'; remove it.",
        ),
        ("a: 1\n---\nb: 2\n", "2:1: too much: a file may hold one document, 32 levels and 10,000 values."),
        (
            "a: " + "[" * 40 + "]" * 40,
            "1:35: too much: a file may hold one document, 32 levels and 10,000 values.",
        ),
    ],
)
def test_a_file_that_is_no_job(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text) == [expected]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("budget:", "budgets:", "7:1: budgets: unknown key 'budgets'; did you mean 'budget'?"),
        (
            "max_epochs: 9",
            "max_epoch: 9",
            "6:48: search.scheduler.max_epoch: unknown key 'max_epoch'; did you",
        ),
        (
            "trials: 24",
            "trials: 24, trials: 25",
            "7:22: budget.trials: given twice, first on line 7; keep one.",
        ),
        ("trials: 24", "trials: -1", "7:10: budget.trials: must be >= 1, got -1."),
        ("trials: 24", "trials: 0", "7:10: budget.trials: must be >= 1, got 0."),
        ("trials: 24", "trials: true", "7:10: budget.trials: expected an integer >= 1, got true."),
        ("trials: 24", "trials: ten", "7:10: budget.trials: expected an integer >= 1, got 'ten'."),
        ("trials: 24", "trials: 012", "7:10: budget.trials: expected an integer >= 1, got '012'."),
        ("trials: 24", "trials: 1e300", "7:10: budget.trials: expected an integer >= 1, got 1e+300."),
        ("2.0e6", ".nan", "5:15: constraints.parameters: must be a finite number, got .nan."),
        ("2.0e6", ".inf", "5:15: constraints.parameters: must be a finite number, got .inf."),
        ("2.0e6", "1e999", "5:15: constraints.parameters: must be a finite number, got 1e999."),
        ("2.0e6", "-3", "5:15: constraints.parameters: must be > 0, got -3."),
        ("parameters: 2", "params: 2", "5:15: constraints.params: unknown key 'params'; did you mean"),
        (
            "wall: 90s",
            "wall: soon",
            "7:22: budget.wall: expected a time such as 90s, 10m, 2h or 1d, got 'soon'.",
        ),
        ("kind: asha", "kind: ash", "6:36: search.scheduler.kind: unknown value 'ash'; did you mean 'asha'?"),
        ("[64, 64]", "[64]", "4:8: data.size: expected a list of integers >= 8, 2 or 3 of them, got [64]."),
        (
            "search:",
            "objectives: {maximize: dice}\nsearch:",
            "6:14: objectives.maximize: expected a list of text, got 'dice'.",
        ),
        ("name: hippo", "name: ../hippo", "2:1: name: only a-z, 0-9 and '-', 1 to 40 characters"),
        (
            "max_epochs: 9",
            "max_epochs: 9, min_epochs: 10",
            "6:24: search.scheduler: min_epochs (10) must be at most",
        ),
        ("dataset: data/hippocampus\n", "", "2:1: dataset: is required; expected text."),
        ("batch: 16", "batch: [1]", "4:24: data.batch: expected an integer >= 1, got [1]."),
    ],
)
def test_one_wrong_value(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    found = problems(tmp_path, GOOD.replace(old, new, 1))
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "name: Bad_Name\ndataset: 3\ndata: {size: [64, a]}\nbudget: {trials: -1, wall: 2}\nserch: {}\n",
    )
    assert [line.split(": ")[1] for line in found] == [
        "name",
        "dataset",
        "data.size.1",
        "budget.trials",
        "budget.wall",
        "serch",
    ]


def test_several_objectives_are_read(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(GOOD + "objectives: {maximize: [dice], minimize: [parameters, worker_seconds]}\n")
    job = load_job(path)
    assert job.objectives == {"maximize": ["dice"], "minimize": ["parameters", "worker_seconds"]}
    assert job_from_json(job.to_json()) == job


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        ("{}", "at least one metric that training improves is needed"),
        ("{minimize: [parameters]}", "at least one metric that training improves is needed"),
        ("{maximize: [dice, dice]}", "'dice' is named twice; keep one."),
        ("{maximize: [dice, macs]}", "'macs' is a cost, which can only be minimised."),
    ],
)
def test_objectives_that_cannot_be_searched_for(tmp_path: Path, objectives: str, expected: str) -> None:
    [found] = problems(tmp_path, GOOD + f"objectives: {objectives}\n")
    assert found.startswith(f"8:1: objectives: {expected}")


@pytest.mark.parametrize("kind", ["pasha", "median", "curve"])
def test_a_scheduler_of_one_objective_is_refused_for_several(tmp_path: Path, kind: str) -> None:
    text = GOOD.replace("kind: asha", f"kind: {kind}")
    [found] = problems(tmp_path, text + "objectives: {maximize: [dice], minimize: [macs]}\n")
    assert f"search.scheduler.kind: '{kind}' judges one objective" in found and "use asha" in found


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1.5d", 129600)])
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["0s", "10", "-1h", "1w", ""])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time such as"):
        duration_s(text)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{score: naswot, drop: 0}", "screening.drop: must be > 0, got 0."),
        ("{score: naswot, drop: 1.0}", "screening.drop: must be at most 0.9, got 1.0."),
        ("{score: naswot, drop: quarter}", "screening.drop: expected a number > 0, got 'quarter'."),
        ("{score: naswot, among: 1}", "screening.among: must be >= 2, got 1."),
        ("{score: naswot, amongst: 8}", "screening.amongst: unknown key 'amongst'; did you mean 'among'?"),
        ("{drop: 0.5}", "screening.score: is required; expected text."),
        ("naswot", "screening: expected a mapping, got 'naswot'."),
        (
            "{score: naswot, drop: 0.2, among: 4}",
            "screening: drop (0.2) of among (4) is less than one proposal; raise among to 5 or more, or drop.",
        ),
    ],
)
def test_a_screening_that_cannot_be(tmp_path: Path, given: str, expected: str) -> None:
    [found] = problems(tmp_path, GOOD.replace("sampler: tpe", f"screening: {given}", 1))
    assert found.split(": search.", 1)[1].startswith(expected)


def test_a_screening_is_off_unless_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(GOOD)
    assert load_job(path).search.screening is None
    path.write_text(GOOD.replace("sampler: tpe", "screening: {score: macs}"))
    job = load_job(path)
    assert job.search.screening is not None
    assert (job.search.screening.drop, job.search.screening.among) == (0.25, 8)
    assert job_from_json(job.to_json()) == job
