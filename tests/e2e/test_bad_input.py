"""What a user gets wrong: one clear message each, exit 2, nothing half-written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

Cli = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("space: compact", "space: compakt", "5:1: space: unknown space 'compakt'; did you mean 'compact'?"),
        ("sampler: tpe", "sampler: tpee", "search.sampler: unknown sampler 'tpee'; did you mean 'tpe'?"),
        (
            "against: small_unet",
            "against: small_net",
            "retrain.against: unknown preset of this space 'small_net'",
        ),
        ("dataset: data/small", "dataset: raw", "segsearch data ingest"),
        ("dataset: data/small", "dataset: nowhere", "dataset: "),
        (
            "size: [64, 64]",
            "size: [64, 64], view: images",
            "data.view: images with size [64, 64] does not fit",
        ),
        ("architecture.encoder.stages: [3, 4]", "architecture.encoder.stagees: 3", "stagees"),
        ("architecture.encoder.stages: [3, 4]", "architecture.encoder.stages: 77", "77"),
        ("recipe.optimiser: adamw", "loss.terms.0.term.kind: dise", "dise"),
        ("batch: 8", "batch: -8", "data.batch: must be >= 1, got -8."),
        ("raw: raw", "raw: rwa", "raw: there is no folder 'rwa'; name the source of the data set"),
        ("trials: 4", "trials: 4, trails: 5", "budget.trails: unknown key 'trails'; did you mean 'trials'?"),
    ],
)
def test_a_wrong_job_starts_nothing(inside: Any, cli: Cli, old: str, new: str, expected: str) -> None:
    job = inside.job("wrong")
    text = job.read_text()
    assert old in text
    job.write_text(text.replace(old, new, 1))
    code, out, err = cli("run", str(job), "--in-process", "--no-tracking")
    assert code == 2
    assert out == ""
    assert expected in err
    assert not (inside.folder / "runs").exists()


def test_an_unknown_metric_and_a_wrong_sampler_are_said_together(inside: Any, cli: Cli) -> None:
    job = inside.job("wrong", sampler="tpee", extra="objectives: {maximize: [dise]}\n")
    code, _, err = cli("validate", str(job), "--json")
    assert code == 2
    errors = json.loads(err)["errors"]
    assert len(errors) == 2
    assert "search.sampler" in errors[0]
    assert "did you mean 'dice'?" in errors[1]


def test_a_preset_beyond_a_limit_is_listed_as_rejected_with_its_number(inside: Any, cli: Cli) -> None:
    job = inside.job("tight", trials=1, top=0)
    job.write_text(job.read_text().replace("parameters: 2.0e6", "parameters: 454000"))
    code, out, err = cli("run", str(job), "--in-process", "--no-tracking")
    assert code == 0, err
    assert "rejected small_deeplabv3plus" in out
    assert "455,059" in out or "455059" in out
    code, out, _ = cli("status", "tight", "--json")
    assert json.loads(out)["rejected"] == {"constraint:parameters": 1}


@pytest.mark.parametrize("command", ["status", "leaderboard", "resume", "stop", "export"])
def test_a_search_that_does_not_exist(cli: Cli, command: str) -> None:
    code, _, err = cli(command, "nobody")
    assert code == 2
    assert "nobody" in err


def test_a_label_outside_the_classes_and_a_mask_of_another_size_are_said_together(
    inside: Any, cli: Cli
) -> None:
    source = inside.folder / "bad"
    shutil.copytree(inside.folder / "raw", source)
    first, second, *_ = sorted((source / "labelsTr").iterdir())
    _change(first, lambda labels: np.where(labels == 2, 7, labels))
    _change(second, lambda labels: labels[:-1])
    code, out, err = cli("data", "ingest", str(source), "data/bad")
    assert code == 2
    assert out == ""
    assert f"{first.name}: label 7 (" in err
    assert second.name in err and "give both the same size" in err
    assert not (inside.folder / "data" / "bad").exists()


def test_a_damaged_file_and_a_missing_pair_are_said_together(inside: Any, cli: Cli) -> None:
    source = inside.folder / "bad"
    shutil.copytree(inside.folder / "raw", source)
    first, second, *_ = sorted((source / "labelsTr").iterdir())
    first.write_bytes(first.read_bytes()[:100])
    second.unlink()
    code, _, err = cli("data", "ingest", str(source), "data/bad")
    assert code == 2
    assert first.name in err
    assert second.name in err
    assert not (inside.folder / "data" / "bad").exists()


def test_a_folder_of_no_known_layout(inside: Any, cli: Cli) -> None:
    (inside.folder / "empty").mkdir()
    for command in (("init", "empty"), ("data", "ingest", "empty", "data/x")):
        code, _, err = cli(*command)
        assert code == 2
        assert "Looked for" in err


@pytest.mark.parametrize("arguments", [("runn",), ("run",), ("run", "job.yaml", "--fast"), ("data", "info")])
def test_wrong_words_on_the_command_line(cli: Cli, arguments: tuple[str, ...]) -> None:
    code, _, err = cli(*arguments)
    assert code == 2
    assert err.startswith("error: ")


def _change(path: Path, change: Callable[[Any], Any]) -> None:
    image = nib.nifti1.Nifti1Image.from_filename(path)
    labels = change(np.asarray(image.dataobj)).astype(np.uint8)
    nib.nifti1.Nifti1Image(labels, image.affine).to_filename(path)


def test_a_limit_that_no_network_keeps_is_said_with_the_closest(inside: Any, cli: Cli) -> None:
    job = inside.job("hasty", trials=3)
    job.write_text(job.read_text().replace("macs: 6.0e7", "macs: 6.0e7, latency_ms: 0.001"))
    code, out, err = cli("run", str(job), "--in-process", "--no-tracking")
    assert code == 1
    assert "small_unet: ends, as latency_ms" in out
    assert (
        "without a network trained to its end (3 of 3 trials were beyond a limit, the closest: latency_ms"
        in err
    )
    code, out, _ = cli("leaderboard", "hasty", "--json")
    assert code == 0 and [row["value"] for row in json.loads(out)["trials"]] == [None] * 3


@pytest.mark.parametrize(
    "arguments", [("verify", "nowhere"), ("predict", "nowhere", "a.nii.gz", "--out", "p")]
)
def test_an_export_that_is_not_there(inside: Any, cli: Cli, arguments: tuple[str, ...]) -> None:
    code, _, err = cli(*arguments)
    assert (code, err) == (2, "error: nowhere: no export there (proof.json is missing).\n")
    assert not (inside.folder / "p").exists()
