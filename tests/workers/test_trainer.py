"""Schedules by hand, optimiser groups, the moving average, and when training has diverged."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from search_spaces.candidate import Candidate
from search_spaces.critic import build_critic, critic_loss
from search_spaces.loss import Loss, Weighted
from search_spaces.loss_schedule import GaussRamp
from search_spaces.losses.adversarial import Adversarial
from search_spaces.losses.consistency import Consistency
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.hausdorff_distance import HausdorffDistance
from search_spaces.network import build_model
from search_spaces.recipe import Augmentation, Recipe
from search_spaces.scores import LossExtras
from workers.batches import TrainingSet
from workers.checkpoint import load_checkpoint
from workers.contract import DataView
from workers.errors import DivergedError
from workers.leg import run_leg
from workers.preprocessing import Prepared
from workers.trainer import MOMENTUM, Trainer, build_optimiser, build_trainer, schedule_factor

MakePrepared = Callable[..., Prepared]


@pytest.mark.parametrize(
    ("schedule", "points"),
    [
        ("constant", {0.0: 1, 0.5: 1, 1.0: 1}),
        ("cosine", {0.0: 1, 1 / 3: 0.75, 0.5: 0.5, 2 / 3: 0.25, 1.0: 0}),
        ("poly", {0.0: 1, 0.5: 0.5**0.9, 0.75: 0.25**0.9, 1.0: 0}),
    ],
)
def test_schedules_by_hand(schedule: Any, points: dict[float, float]) -> None:
    recipe = Recipe(schedule=schedule)
    for done, factor in points.items():
        assert schedule_factor(recipe, done) == pytest.approx(factor, abs=1e-12)
    warm = Recipe(schedule=schedule, warmup=0.2)
    for done, factor in {0.0: 0, 0.05: 0.25, 0.15: 0.75}.items():
        assert schedule_factor(warm, done) == pytest.approx(factor)
    for done, factor in points.items():  # the rest of the training runs through the whole shape
        assert schedule_factor(warm, 0.2 + 0.8 * done) == pytest.approx(factor, abs=1e-12)


def test_norms_and_biases_are_not_decayed() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1, bias=False))
    adamw = build_optimiser(model, Recipe(learning_rate=0.3, weight_decay=0.7))
    assert isinstance(adamw, torch.optim.AdamW)
    decayed, others = adamw.param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 1, 3, 3), (2, 2, 1, 1)]
    assert [tuple(p.shape) for p in others["params"]] == [(2,)] * 3
    assert (decayed["weight_decay"], others["weight_decay"], decayed["lr"]) == (0.7, 0, 0.3)
    sgd = build_optimiser(model, Recipe(optimiser="sgd"))
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.param_groups[0]["momentum"] == MOMENTUM and sgd.param_groups[0]["nesterov"]


def test_parts_of_a_batch_add_up_to_its_gradient(small: Candidate) -> None:
    """Without batch norm the step is the same to rounding, also where the parts are of unequal size."""
    images, labels = torch.randn(6, 1, 8, 8), torch.randint(0, 2, (6, 8, 8))
    architecture = dataclasses.replace(small.architecture, norm="group")
    after = []
    for parts in (1, 4):
        model = build_model(architecture, in_channels=1, num_classes=2, ndim=2, seed=0)
        loss = Loss((Weighted(CrossEntropy()),))
        one = dataclasses.replace(small, loss=loss, recipe=Recipe(optimiser="sgd", precision="fp32"))
        training = TrainingSet((), DataView("", "", "images", (8, 8), 6, 6), Augmentation(), (), 255, 0)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        work = Trainer(model, None, optimiser, one, training, 1, torch.device("cpu"), parts)
        value = float(work._step(images, labels, LossExtras())[0])
        after.append((value, next(model.parameters()).detach().clone()))
    assert after[0][0] == pytest.approx(after[1][0], rel=1e-5)
    torch.testing.assert_close(after[0][1], after[1][1], rtol=1e-4, atol=1e-5)


def trainer(candidate: Candidate, cases: list[Prepared], *, seed: int = 1, **recipe: Any) -> Trainer:
    candidate = dataclasses.replace(candidate, recipe=dataclasses.replace(candidate.recipe, **recipe))
    training = TrainingSet(
        cases=tuple(cases),
        view=DataView("", "", "images", (8, 8), 2),
        augmentation=candidate.recipe.augmentation,
        symmetries=(),
        ignore_index=255,
        seed=seed,
    )
    return build_trainer(candidate, training, in_channels=1, num_classes=3, max_epochs=2)


@pytest.fixture
def cases(make_prepared: MakePrepared) -> list[Prepared]:
    return [make_prepared(8, 8, id=str(number)) for number in range(4)]


def test_the_learning_rate_follows_the_steps_of_the_whole_training(
    small: Candidate, cases: list[Prepared]
) -> None:
    made = trainer(small, cases, schedule="cosine", warmup=0.0, learning_rate=0.1)
    rates = []
    made.optimiser.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    made.train_epoch(1)
    made.train_epoch(2)
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 4)) for step in range(4)])


def test_the_moving_average_by_hand(small: Candidate, cases: list[Prepared]) -> None:
    made = trainer(small, cases, average=0.15)
    assert made.average is not None
    expected = [parameter.detach().clone() for parameter in made.model.parameters()]
    after = []
    made.optimiser.register_step_post_hook(
        lambda *_: after.append([parameter.detach().clone() for parameter in made.model.parameters()])
    )
    made.train_epoch(1)
    for decay, weights in zip((0.1, 0.15), after, strict=True):  # 1 / 10, then 2 / 11 is more than 0.15
        expected = [decay * kept + (1 - decay) * new for kept, new in zip(expected, weights, strict=True)]
    for found, value in zip(made.average.parameters(), expected, strict=True):
        torch.testing.assert_close(found, value)
    for kept, latest in zip(made.average.buffers(), made.model.buffers(), strict=True):
        assert torch.equal(kept, latest)


def test_what_is_evaluated_is_the_average_in_evaluation_mode(small: Candidate, cases: list[Prepared]) -> None:
    images = torch.randn(2, 1, 8, 8)
    averaged = trainer(small, cases)
    averaged.train_epoch(1)
    assert averaged.average is not None
    plain = trainer(small, cases, average=0.0)
    plain.train_epoch(1)
    assert plain.average is None
    with torch.inference_mode():
        assert torch.equal(averaged.network(images), averaged.average.eval()(images))
        assert not torch.equal(averaged.network(images), averaged.model.eval()(images))
        assert torch.equal(plain.network(images), plain.model.eval()(images))
    plain.train_epoch(2)
    assert plain.model.training


def test_initial_weights_and_losses_are_functions_of_the_seed(
    small: Candidate, cases: list[Prepared]
) -> None:
    before = torch.get_rng_state()
    losses = [trainer(small, cases, seed=seed).train_epoch(1) for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loss_that_is_not_finite_ends_training(small: Candidate, cases: list[Prepared]) -> None:
    cases[2].pixels[0, 3, 3] = math.nan
    made = trainer(small, cases, augmentation=Augmentation())
    with pytest.raises(DivergedError, match="the loss became nan in epoch 1, step"):
        made.train_epoch(1)


@pytest.mark.parametrize("step", [1, 2])
def test_a_gradient_that_is_not_finite_ends_the_epoch_before_it_counts(
    small: Candidate, cases: list[Prepared], step: int
) -> None:
    made = trainer(small, cases)
    assert made.training.steps == 2
    calls = iter(range(1, 100))
    weight = next(made.model.parameters())
    weight.register_hook(lambda gradient: gradient * (math.inf if next(calls) == step else 1.0))
    with pytest.raises(DivergedError, match=f"the norm of the gradient became inf in epoch 1, step {step}"):
        made.train_epoch(1)


def test_half_precision_trains_with_a_loss_in_single_precision(
    small: Candidate, cases: list[Prepared]
) -> None:
    made = trainer(small, cases, precision="bf16")
    loss = made.train_epoch(1)
    assert math.isfinite(loss) and loss == pytest.approx(trainer(small, cases).train_epoch(1), rel=0.05)
    assert all(parameter.dtype == torch.float32 for parameter in made.model.parameters())


def with_loss(candidate: Candidate, *terms: Weighted, balance: Any = "values") -> Candidate:
    return dataclasses.replace(candidate, loss=Loss(terms, balance))


def test_gradients_are_balanced_from_the_first_steps_on_and_across_a_checkpoint(
    small: Candidate, make_leg: Callable[..., Any], tmp_path: Any
) -> None:
    """Two legs of one epoch give what one leg of two gives; norms are summed over the first steps and then stay."""
    balanced = with_loss(
        small, Weighted(CrossEntropy()), Weighted(HausdorffDistance(), 1.0), balance="gradients"
    )
    reports: list[Any] = []
    run_leg(make_leg(balanced), reports.append, lambda: False)
    halves: list[Any] = []
    storage = str(tmp_path / "halves")
    run_leg(make_leg(balanced, last_epoch=1, storage=storage), halves.append, lambda: False)
    later = make_leg(balanced, first_epoch=1, storage=storage, fence=8, checkpoint=halves[0].checkpoint)
    run_leg(later, halves.append, lambda: False)
    assert [report.loss for report in reports] == [report.loss for report in halves]
    norms = load_checkpoint(reports[-1].checkpoint)[0]["loss/norms"]
    assert norms.shape == (2,) and (norms > 0).all()
    weighed: list[Any] = []
    plain = with_loss(small, *balanced.loss.terms)
    run_leg(make_leg(plain, storage=str(tmp_path / "weighed")), weighed.append, lambda: False)
    assert weighed[0].loss != reports[0].loss
    assert "loss/norms" not in load_checkpoint(weighed[-1].checkpoint)[0]


def test_a_consistent_network_is_trained_with_a_second_prediction(
    small: Candidate, make_leg: Callable[..., Any]
) -> None:
    candidate = with_loss(small, Weighted(CrossEntropy()), Weighted(Consistency(), 2.0, GaussRamp(0.3)))
    first: list[Any] = []
    second: list[Any] = []
    for reports in (first, second):
        result = run_leg(make_leg(candidate, fence=7 + len(first)), reports.append, lambda: False)
        assert result.status == "completed", result.message
    assert [report.loss for report in first] == [report.loss for report in second]


def test_a_critic_learns_beside_the_network_and_goes_on_after_a_checkpoint(
    small: Candidate, make_leg: Callable[..., Any], tmp_path: Any
) -> None:
    candidate = with_loss(small, Weighted(CrossEntropy()), Weighted(Adversarial(), -1.0))
    whole: list[Any] = []
    run_leg(make_leg(candidate), whole.append, lambda: False)
    halves: list[Any] = []
    storage = str(tmp_path / "halves")
    run_leg(make_leg(candidate, last_epoch=1, storage=storage), halves.append, lambda: False)
    later = make_leg(candidate, first_epoch=1, storage=storage, fence=8, checkpoint=halves[0].checkpoint)
    run_leg(later, halves.append, lambda: False)
    assert [report.loss for report in whole] == [report.loss for report in halves]
    kept = [load_checkpoint(report.checkpoint)[0] for report in whole]
    name = "critic/model/layers.0.weight"
    assert not torch.equal(kept[0][name], kept[1][name])


def test_a_critic_tells_labels_from_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    critic = build_critic(1, 2, ndim=2, seed=0)
    optimiser = torch.optim.Adam(critic.parameters(), lr=1e-2)
    labels = torch.zeros(4, 16, 16, dtype=torch.int64)
    labels[:, 4:12, 4:12] = 1
    labels[0, 0] = 255
    logits = torch.randn(4, 2, 16, 16, generator=generator, requires_grad=True)
    image = labels.clamp(max=1).unsqueeze(1).float()
    losses = []
    for _ in range(60):
        loss = critic_loss(critic, image, logits, labels, ignore_index=255)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(2), abs=0.1) and losses[-1] < 0.2
    assert logits.grad is None
