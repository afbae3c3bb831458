"""Precision by measurement: what is chosen, that nothing else of a training changes, and who remembers it."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from search_spaces.candidate import Candidate
from workers import precision
from workers.checkpoint import load_checkpoint
from workers.contract import EpochResult, Leg
from workers.leg import open_work, run_leg
from workers.precision import BF16, MEASURED, STEP_MS, Measured, has_fast_bf16, measure
from workers.trainer import Precision

MakeLeg = Callable[..., Leg]


class Steps:
    """Steps that take what they are told to; the first ones of all take long, as those of a new network do."""

    def __init__(self, fp32: Sequence[float], bf16: Sequence[float]) -> None:
        self.left = {"fp32": [9.0, *fp32], "bf16": [90.0, *bf16]}
        self.done: list[Precision] = []

    def __call__(self, precision: Precision) -> float:
        self.done.append(precision)
        return self.left[precision].pop(0)


@pytest.mark.parametrize(
    ("fp32", "bf16", "chosen"),
    [
        ((1.0, 1.0, 1.0), (0.9, 0.9, 0.9), "bf16"),
        ((1.0, 1.0, 1.0), (0.96, 0.96, 0.96), "fp32"),  # 4 % faster: noise
        ((1.05, 1.05, 1.05), (1.0, 1.0, 1.0), "bf16"),  # 5 %
        ((1.0, 1.0, 1.0), (1.1, 1.1, 1.1), "fp32"),
        ((5.0, 1.0, 5.0), (7.0, 7.0, 0.8), "bf16"),  # the fastest step counts
        ((0.8, 5.0, 5.0), (1.0, 1.0, 1.0), "fp32"),
    ],
)
def test_the_faster_one_is_chosen_fp32_where_it_is_close(
    fp32: Sequence[float], bf16: Sequence[float], chosen: Precision
) -> None:
    steps = Steps(fp32, bf16)
    found = measure(steps)
    assert found == Measured(chosen, {"fp32": min(fp32), "bf16": min(bf16)})
    assert steps.done == ["fp32", "bf16"] * 4
    assert found.metrics() == {
        BF16: float(chosen == "bf16"), "step_ms/fp32": 1000 * min(fp32), "step_ms/bf16": 1000 * min(bf16)
    }  # fmt: skip


def test_a_hopeless_precision_is_timed_once() -> None:
    steps = Steps([1.0], [2.1])
    assert measure(steps).precision == "fp32"
    assert steps.done == ["fp32", "bf16"] * 2


def run(leg: Leg) -> list[EpochResult]:
    epochs: list[EpochResult] = []
    ended = run_leg(leg, epochs.append, lambda: False)
    assert ended.status == "completed", ended.message
    return epochs


def told(epochs: Sequence[EpochResult]) -> list[Any]:
    """Loss and scores of each epoch."""
    scores = [{name: v for name, v in epoch.metrics.items() if name not in MEASURED} for epoch in epochs]
    return [(epoch.loss, score) for epoch, score in zip(epochs, scores, strict=True)]


def check_same_tensors(one: EpochResult, other: EpochResult) -> None:
    first, second = (load_checkpoint(epoch.checkpoint)[0] for epoch in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(params=["fp32", "bf16"])
def chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Precision:
    """A machine on which this precision is the faster one; its steps are done."""
    found: Precision = request.param

    def really(step: Callable[[Precision], float]) -> Measured:
        return dataclasses.replace(measure(step), precision=found)

    monkeypatch.setattr(precision, "has_fast_bf16", lambda: True)
    monkeypatch.setattr(precision, "measure", really)
    return found


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_a_measured_training_is_that_of_the_precision_given_by_hand(
    make_leg: MakeLeg, small: Candidate, chosen: Precision, micro_batches: int
) -> None:
    by_hand = dataclasses.replace(small, recipe=dataclasses.replace(small.recipe, precision=chosen))
    cut: Any = {"micro_batches": micro_batches}
    torch.manual_seed(5)
    expected = run(make_leg(by_hand, **cut))
    drawn = torch.rand(3)
    torch.manual_seed(5)
    found = run(make_leg(small, fence=8, precision="measured", **cut))
    assert torch.equal(torch.rand(3), drawn)
    assert told(found) == told(expected)
    check_same_tensors(found[-1], expected[-1])
    assert found[0].metrics[BF16] == (chosen == "bf16")
    assert all(found[0].metrics[name] > 0 for name in STEP_MS.values())
    assert not found[1].metrics.keys() & set(MEASURED) and not expected[0].metrics.keys() & set(MEASURED)


def test_later_legs_train_on_as_their_checkpoint_says(
    make_leg: MakeLeg, chosen: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(make_leg(precision="measured"))
    first = run(make_leg(fence=8, precision="measured", last_epoch=1))

    def never(_step: object) -> Measured:
        raise AssertionError("measured again")

    monkeypatch.setattr(precision, "measure", never)
    place = first[0].checkpoint
    assert load_checkpoint(place)[1]["precision"] == chosen
    second = run(make_leg(fence=9, precision="measured", first_epoch=1, checkpoint=place))
    assert told([*first, *second]) == told(whole)
    check_same_tensors(second[-1], whole[-1])


def test_cores_that_emulate_bf16_are_not_asked(make_leg: MakeLeg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_fast_bf16", lambda: False)
    work = open_work(make_leg(precision="measured"))
    assert work.trainer.precision == "fp32"
    assert work.measured == Measured("fp32") and work.measured.metrics() == {BF16: 0.0}


def test_real_steps_on_this_machine(make_leg: MakeLeg, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where bf16 is emulated its steps are slower, so fp32 is chosen, as it would be without asking."""
    emulated = not has_fast_bf16()
    monkeypatch.setattr(precision, "has_fast_bf16", lambda: True)
    found = open_work(make_leg(precision="measured")).measured
    assert found is not None and found.step_s.keys() == STEP_MS.keys()
    if emulated:
        assert found.precision == "fp32"
