"""Legs: the same numbers however a training is cut and whoever prepares its batches; how each ends."""

import dataclasses
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from search_spaces.candidate import Candidate
from search_spaces.preprocessing import Percentile, Preprocessing
from search_spaces.recipe import Augmentation
from workers.checkpoint import load_checkpoint
from workers.contract import INHERITED, DataView, EpochResult, Leg, LegResult
from workers.evaluate import Evaluation, evaluate
from workers.latency import latency_ms
from workers.leg import is_out_of_memory, open_work, run_leg
from workers.metrics import metric_names
from workers.picture import picture_key

MakeLeg = Callable[..., Leg]


def run(leg: Leg, stop_after: int | None = None) -> tuple[LegResult, list[EpochResult]]:
    epochs: list[EpochResult] = []
    result = run_leg(leg, epochs.append, lambda: stop_after is not None and epochs[-1].epoch >= stop_after)
    return result, epochs


def numbers(epochs: list[EpochResult]) -> list[tuple[int, float, dict[str, float]]]:
    return [(epoch.epoch, epoch.loss, epoch.metrics) for epoch in epochs]


def assert_same_tensors(one: str, other: str) -> None:
    expected, found = load_checkpoint(one)[0], load_checkpoint(other)[0]
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


@pytest.fixture
def full(make_leg: MakeLeg, small: Candidate) -> Candidate:
    """The small candidate with every augmentation."""
    every = Augmentation(flip=True, rotate_deg=15, zoom=0.2, intensity=0.2, noise=0.1)
    return dataclasses.replace(small, recipe=dataclasses.replace(small.recipe, augmentation=every))


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_two_legs_equal_one(make_leg: MakeLeg, full: Candidate, optimiser: str) -> None:
    recipe = dataclasses.replace(full.recipe, optimiser=optimiser)  # type: ignore[arg-type]  # a literal from the parameters
    candidate = dataclasses.replace(full, recipe=recipe)
    result, whole = run(make_leg(candidate, last_epoch=4))
    assert (result.status, result.epoch, result.message) == ("completed", 4, "")
    _, first = run(make_leg(candidate, fence=8))
    second_leg = make_leg(candidate, fence=9, first_epoch=2, last_epoch=4, checkpoint=first[-1].checkpoint)
    result, second = run(second_leg)
    assert (result.status, result.epoch) == ("completed", 4)
    assert numbers(whole) == numbers(first + second)
    assert_same_tensors(whole[-1].checkpoint, second[-1].checkpoint)


def test_latency_is_measured_where_it_is_asked_for(make_leg: MakeLeg, small: Candidate) -> None:
    _, plain = run(make_leg(small, last_epoch=1))
    assert "latency_ms" not in plain[0].metrics
    _, timed = run(make_leg(small, fence=8, last_epoch=1, latency=True))
    assert 0 < timed[0].metrics["latency_ms"] < 1000
    assert {k: v for k, v in timed[0].metrics.items() if k != "latency_ms"} == plain[0].metrics


def test_latency_is_that_of_the_fastest_pass() -> None:
    naps = iter([0.5, *[0.01] * 10, 0.005, *[0.01] * 100])

    def network(windows: torch.Tensor) -> torch.Tensor:
        assert windows.shape == (1, 2, 4, 4)
        time.sleep(next(naps))
        return windows

    assert 5 <= latency_ms(network, (2, 4, 4)) < 10


def test_loader_processes_change_nothing(make_leg: MakeLeg, full: Candidate) -> None:
    _, here = run(make_leg(full))
    _, there = run(make_leg(full, fence=8, loader_workers=2))
    assert numbers(here) == numbers(there)
    assert_same_tensors(here[-1].checkpoint, there[-1].checkpoint)


def test_the_seed_decides(make_leg: MakeLeg, full: Candidate) -> None:
    torch.manual_seed(1)
    _, one = run(make_leg(full))
    torch.manual_seed(2)
    _, same = run(make_leg(full, fence=8))
    _, other = run(make_leg(full, fence=9, seed=12))
    assert numbers(one) == numbers(same) != numbers(other)


def test_what_an_epoch_reports(make_leg: MakeLeg) -> None:
    leg = make_leg()
    _, epochs = run(leg)
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    last = epochs[-1]
    assert (last.search, last.trial, last.fence) == ("made", 3, 7)
    always = {"dice", "miou", "accuracy", "dice/box", "iou/background", "recall/box", "fwiou", "case_dice"}
    assert always <= last.metrics.keys() <= set(metric_names(("background", "box")))
    assert last.metrics["dice"] == last.metrics["dice/box"]
    assert 0 < last.train_seconds < last.seconds
    assert last.checkpoint.endswith("checkpoints/trial-00003/leg-000007/epoch-0002")
    _, state = load_checkpoint(last.checkpoint)
    expected = {"search": "made", "trial": 3, "epoch": 2, "seed": 11, "precision": "fp32"}
    assert state == {**expected, "candidate": leg.candidate}
    json.dumps([dataclasses.asdict(epoch) for epoch in epochs])


def test_training_learns(make_leg: MakeLeg) -> None:
    _, epochs = run(make_leg(last_epoch=4))
    assert epochs[-1].loss < epochs[0].loss
    assert epochs[-1].metrics["dice/background"] > 0.5


def test_a_picture_of_truth_and_prediction_is_kept(make_leg: MakeLeg) -> None:
    leg = make_leg(last_epoch=1)
    run(leg)
    with Image.open(Path(leg.storage) / picture_key(3)) as opened:
        picture = np.asarray(opened)
    columns = picture.shape[1] // 192
    assert picture.shape == (2 * 192, columns * 192, 3) and 1 <= columns <= 4


@pytest.mark.parametrize("split", ["validation", "test"])
def test_pictures_with_ignored_pixels(
    make_leg: MakeLeg, shots: DataView, small: Candidate, split: str
) -> None:
    candidate = dataclasses.replace(small, preprocessing=Preprocessing(Percentile(scope="training")))
    result, epochs = run(make_leg(candidate, data=shots, split=split, last_epoch=1))
    assert result.status == "completed", result.message
    assert 0 <= epochs[0].metrics["accuracy"] <= 1


def test_volumes_as_patches(make_leg: MakeLeg, scans: DataView) -> None:
    patches = dataclasses.replace(scans, view="patches", size=(16, 16, 4), batch=2, epoch_samples=4)
    result, epochs = run(make_leg(data=patches, last_epoch=1))
    assert result.status == "completed", result.message
    assert "dice" in epochs[0].metrics


def test_slices_seen_with_those_beside_them(make_leg: MakeLeg, scans: DataView, small: Candidate) -> None:
    """Scored, timed, measured and inherited as any other."""
    around = dataclasses.replace(scans, adjacent_slices=1)
    result, epochs = run(make_leg(data=around, latency=True, precision="measured", last_epoch=1))
    assert result.status == "completed", result.message
    assert {"dice", "latency_ms"} <= epochs[0].metrics.keys()
    heir = make_leg(data=around, fence=8, last_epoch=1, inherit=epochs[0].checkpoint)
    result, epochs = run(heir)
    assert result.status == "completed" and epochs[0].metrics[INHERITED] == 1.0
    front = open_work(dataclasses.replace(heir, fence=9)).trainer.model.state_dict()
    first = next(tensor for tensor in front.values() if tensor.ndim == 4)
    assert first.shape[1] == 3


def test_a_leg_that_is_asked_ends_after_its_epoch(make_leg: MakeLeg) -> None:
    result, epochs = run(make_leg(last_epoch=4), stop_after=2)
    assert (result.status, result.epoch, len(epochs)) == ("stopped", 2, 2)
    assert result.message == "asked to stop after epoch 2"
    load_checkpoint(epochs[-1].checkpoint)
    result, _ = run(make_leg(fence=8, last_epoch=2), stop_after=2)
    assert result.status == "completed"  # it had reached its end anyway


def test_a_loss_that_is_not_finite_is_a_result(make_leg: MakeLeg, small: Candidate) -> None:
    recipe = dataclasses.replace(
        small.recipe, learning_rate=1e30, warmup=0.0, optimiser="sgd", augmentation=Augmentation()
    )
    result, epochs = run(make_leg(dataclasses.replace(small, recipe=recipe)))
    assert result.status == "diverged" and " became " in result.message and "\n" not in result.message
    assert result.epoch == len(epochs)


def test_a_bug_is_a_result_with_its_traceback(make_leg: MakeLeg) -> None:
    def report(_: EpochResult) -> None:
        raise KeyError("a bug")

    result = run_leg(make_leg(), report, lambda: False)
    first, *rest = result.message.splitlines()
    assert (result.status, result.epoch, first) == ("failed", 0, "KeyError: 'a bug'")
    assert rest[0].startswith("Traceback") and any("in report" in line for line in rest)


def test_too_little_memory_is_a_result(make_leg: MakeLeg) -> None:
    def report(_: EpochResult) -> None:
        np.empty(2**48)

    result = run_leg(make_leg(), report, lambda: False)
    assert result.status == "out_of_memory" and "Unable to allocate" in result.message


def test_every_kind_of_too_little_memory_is_known() -> None:
    for allocate in (lambda: torch.empty(2**48), lambda: np.empty(2**48), lambda: bytearray(2**60)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            allocate()
        assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"checkpoint": "/nowhere/epoch-0001", "first_epoch": 1}, "CheckpointError: .* never committed"),
        ({"plugins": ("no_such_plugin",)}, "ModuleNotFoundError: .*no_such_plugin"),
        ({"split": "holiday"}, "DataError: .* no split 'holiday'"),
    ],
)
def test_a_leg_that_cannot_start_is_a_result(
    make_leg: MakeLeg, fields: dict[str, object], message: str
) -> None:
    result, epochs = run(make_leg(**fields))
    assert result.status == "failed" and epochs == []
    assert result.epoch == fields.get("first_epoch", 0)
    assert re.match(message, result.message)


def test_a_candidate_that_cannot_be_read_is_a_result(make_leg: MakeLeg) -> None:
    result, _ = run(dataclasses.replace(make_leg(), candidate={"architecture": {}}))
    assert result.status == "failed" and result.message.startswith("SpaceError: candidate")


def test_a_leg_never_goes_on_from_another_epoch(make_leg: MakeLeg) -> None:
    _, epochs = run(make_leg())
    result, _ = run(make_leg(fence=8, first_epoch=1, checkpoint=epochs[-1].checkpoint))
    assert result.status == "failed"
    assert "holds epoch 2, but the leg begins after epoch 1" in result.message.splitlines()[0]


def test_another_content_than_the_search_is_bound_to_is_refused(make_leg: MakeLeg, scans: DataView) -> None:
    result, _ = run(make_leg(data=dataclasses.replace(scans, digest="0" * 64)))
    assert result.status == "failed" and result.message.startswith("DataError: ")


@pytest.mark.parametrize(("share", "most"), [(1.0, 12), (0.5, 8), (1e-9, 2)])
def test_scoring_takes_its_share_and_changes_no_training(
    make_leg: MakeLeg, monkeypatch: pytest.MonkeyPatch, share: float, most: int
) -> None:
    """The first epoch of a leg is scored, to know what that takes, and the last; between them those that fit."""
    _, whole = run(make_leg(fence=1, last_epoch=12, max_epochs=12))

    def slow(*arguments: Any, **named: Any) -> Evaluation:
        time.sleep(0.3)  # several times what an epoch takes
        return evaluate(*arguments, **named)

    monkeypatch.setattr("workers.leg.evaluate", slow)
    _, found = run(make_leg(fence=2, last_epoch=12, max_epochs=12, scoring_share=share))
    scored = [epoch for epoch in found if epoch.metrics]
    assert scored[0] is found[0] and scored[-1] is found[-1] and 2 <= len(scored) <= most
    assert (len(scored) == 12) == (share == 1)
    assert [epoch.loss for epoch in found] == [epoch.loss for epoch in whole]
    assert found[-1].metrics == whole[-1].metrics
