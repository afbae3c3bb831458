"""Schedules by hand, how a loss applies them, the balance of gradients, and extras that are cut like a batch."""

import math
from typing import Any

import pytest
import torch
from loss_extras import close, extras, of_two

from search_spaces.candidate import canonical, from_json, to_json
from search_spaces.errors import SpaceError
from search_spaces.loss import Loss, Weighted
from search_spaces.loss_schedule import BoundaryRamp, GaussRamp, Linear, LossSchedule, StepOn, least
from search_spaces.losses.boundary import Boundary
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.losses.hausdorff_erosion import HausdorffErosion
from search_spaces.scores import LossExtras


@pytest.mark.parametrize(
    ("schedule", "points", "lowest"),
    [
        (Linear(1.0, 0.2), {0.0: 1.0, 0.5: 0.6, 1.0: 0.2}, 0.2),
        (StepOn(0.3), {0.0: 0.0, 0.29: 0.0, 0.3: 1.0, 1.0: 1.0}, 0.0),
        (BoundaryRamp(), {0.0: 0.01, 0.5: 0.51, 1.0: 1.0}, 0.01),
        (BoundaryRamp(falls=True), {0.0: 1.0, 0.5: 0.5, 0.95: 0.1, 1.0: 0.1}, 0.1),
        (GaussRamp(), {0.0: math.exp(-5), 0.5: math.exp(-1.25), 1.0: 1.0}, math.exp(-5)),
        (GaussRamp(0.2), {0.1: math.exp(-1.25), 0.2: 1.0, 1.0: 1.0}, math.exp(-5)),
    ],
)
def test_schedules_by_hand(schedule: LossSchedule, points: dict[float, float], lowest: float) -> None:
    for fraction, factor in points.items():
        assert schedule.factor(fraction) == pytest.approx(factor)
    assert least(schedule) == pytest.approx(lowest)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Linear(-1.0, 1.0), lambda: Linear(0.0, 0.0), lambda: StepOn(0.0), lambda: StepOn(1.0), lambda: GaussRamp(0.0),
        lambda: Loss((Weighted(CrossEntropy(), 0.0, StepOn(0.5)),)),
        lambda: Loss((Weighted(CrossEntropy(), 0.0, Linear(1.0, 0.0)), Weighted(Boundary()))),
    ],
)  # fmt: skip
def test_impossible_schedules_are_refused(make: Any) -> None:
    with pytest.raises(SpaceError, match=r"given|gives a gradient everywhere at all times"):
        make()


def test_a_term_that_is_off_needs_no_value_and_changes_no_weight() -> None:
    logits, labels = of_two([0.9, 0.3, 0.2], [1, 1, 0])
    loss = Loss((Weighted(CrossEntropy()), Weighted(Dice(), 1.0, StepOn(0.5))))
    ce, dice = CrossEntropy()(logits, labels).item(), Dice()(logits, labels).item()
    early, late = (loss(logits, labels, extras=LossExtras(fraction=done)).item() for done in (0.4, 0.6))
    assert early == close(ce / 3)
    assert late == close((ce + 2 * dice) / 3)


def test_a_schedule_is_part_of_the_value() -> None:
    loss = Loss((Weighted(Dice(), 0.0, BoundaryRamp(falls=True)), Weighted(Boundary(), 2.0, StepOn(0.25))))
    assert from_json(Loss, to_json(loss)) == loss
    assert canonical(loss) == loss
    twice = Loss((Weighted(CrossEntropy()), Weighted(Dice()), Weighted(Dice(), 0.0, StepOn(0.5))))
    assert len(canonical(twice).terms) == 3  # the same term under two schedules is two terms
    assert "schedule" not in to_json(Loss((Weighted(CrossEntropy()),)))["terms"][0]


def test_a_balance_of_gradients_brings_terms_to_the_norm_of_the_anchor() -> None:
    logits, labels = of_two([0.9, 0.3, 0.2], [1, 1, 0])
    terms = (Weighted(CrossEntropy()), Weighted(Dice(), 1.0))
    loss = Loss(terms, "gradients")
    norms = loss.gradient_norms(logits, labels)
    ce, dice = CrossEntropy()(logits, labels).item(), Dice()(logits, labels).item()
    leaf = logits.clone().requires_grad_()
    assert norms[0].item() == close(torch.autograd.grad(CrossEntropy()(leaf, labels), leaf)[0].norm().item())
    value = loss(logits, labels, norms=norms).item()
    assert value == close((ce + 2 * (norms[0] / norms[1]).item() * dice) / 3)
    assert loss(logits, labels, norms=7 * norms).item() == close(value)  # sums do as well as means
    assert loss(logits, labels).item() == close(Loss(terms)(logits, labels).item())
    assert canonical(Loss((Weighted(CrossEntropy()),), "gradients")) == Loss((Weighted(CrossEntropy()),))
    assert canonical(loss).balance == "gradients"


def test_a_term_without_a_gradient_at_the_start_is_not_blown_up() -> None:
    labels = torch.zeros(1, 6, 6, dtype=torch.int64)
    logits = torch.zeros(1, 2, 6, 6)
    loss = Loss((Weighted(CrossEntropy()), Weighted(HausdorffErosion())), "gradients")
    norms = loss.gradient_norms(logits, labels)
    assert norms[1] == 0
    wrong = torch.stack([torch.full((6, 6), -9.0), torch.full((6, 6), 9.0)]).unsqueeze(0)
    ce, erosion = CrossEntropy()(wrong, labels).item(), HausdorffErosion()(wrong, labels).item()
    assert loss(wrong, labels, norms=norms).item() == close((ce + 100 * erosion) / 2)


def test_extras_are_cut_like_a_batch() -> None:
    labels = torch.randint(0, 2, (5, 4, 4), generator=torch.Generator().manual_seed(0))
    whole = extras(labels, 2, fraction=0.25, spacing=(1.0, 2.0))
    parts = whole.split(2)
    sizes = [len(part) for part in labels.tensor_split(2)]
    for name in ("distance", "neighbours", "image", "second"):
        pieces = [getattr(part, name) for part in parts]
        assert [len(piece) for piece in pieces] == sizes
        assert torch.equal(torch.cat(pieces), getattr(whole, name))
    assert all(
        (part.fraction, part.spacing, part.critic) == (0.25, (1.0, 2.0), whole.critic) for part in parts
    )
