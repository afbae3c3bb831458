"""The battery refuses what is known to be wrong, with the property that it lacks, and lets good losses pass."""

import random
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from search_spaces.loss import Loss, LossTerm, Role, Weighted
from search_spaces.loss_battery import fault_of
from search_spaces.loss_schedule import BoundaryRamp, StepOn
from search_spaces.losses.active_contour import ActiveContour
from search_spaces.losses.boundary import Boundary
from search_spaces.losses.conservative import Conservative
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.losses.focal import Focal
from search_spaces.losses.generalised_dice import GeneralisedDice
from search_spaces.losses.hausdorff_distance import HausdorffDistance
from search_spaces.losses.lovasz_softmax import LovaszSoftmax
from search_spaces.losses.topology import Topology
from search_spaces.losses.weighted_cross_entropy import WeightedCrossEntropy
from search_spaces.scores import Scores
from search_spaces.space import load_space, sample

CE = Weighted(CrossEntropy())


@dataclass(frozen=True)
class PrintedCombo(LossTerm):
    """The survey's Eq. 31 as printed: no logarithm of p is right, and Dice has the wrong sign."""

    role: ClassVar[Role] = "region"

    def value(self, scores: Scores) -> Tensor:
        p, t = scores.probs[:, 1].clamp(1e-6, 1 - 1e-6), scores.truth[:, 1].float()
        cross = 0.5 * (t - p.log()) + 0.5 * (1 - t) * (1 - p).log()
        dice = (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
        return 0.5 * scores.mean(cross) + 0.5 * dice


@dataclass(frozen=True)
class PrintedConservative(LossTerm):
    """The survey's Eq. 19 without bars: it falls without end as p nears 1."""

    role: ClassVar[Role] = "distribution"

    def value(self, scores: Scores) -> Tensor:
        surprise = scores.cross_entropy.clamp(min=1e-30)
        return scores.mean((1 - surprise).square() * surprise.log())


@dataclass(frozen=True)
class NotANumber(LossTerm):
    """A power of 1 - p, whose slope is infinite where p is 1."""

    role: ClassVar[Role] = "distribution"

    def value(self, scores: Scores) -> Tensor:
        p = scores.softmax.gather(1, scores.labels.unsqueeze(1)).squeeze(1)
        return scores.mean((1 - p) ** 0.5 - (p + 1e-9).log())


@dataclass(frozen=True)
class Size(LossTerm):
    """The size of a mask and nothing else."""

    role: ClassVar[Role] = "region"

    def value(self, scores: Scores) -> Tensor:
        size = scores.probs[:, 1].sum() - scores.truth[:, 1].sum()
        return size.square() / scores.num_valid


@pytest.mark.parametrize(
    ("term", "lacks"),
    [
        (PrintedCombo(), {"minimal", "monotone"}),
        (PrintedConservative(), {"bounded", "minimal"}),
        (NotANumber(), {"finite"}),
        (Size(), {"minimal", "monotone", "recovers"}),
        (Dice(absent="one"), {"strict"}),
        (Dice(absent="skip"), {"strict"}),
        (WeightedCrossEntropy((1.0, 2.0, 3.0)), {"fits"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, LossTerm) else "",
)
def test_what_is_wrong_is_refused_with_the_property_that_it_lacks(term: LossTerm, lacks: set[str]) -> None:
    fault = fault_of(Loss((Weighted(term),)), num_classes=2)
    assert fault is not None
    assert fault.lacks in lacks
    assert fault.message


def test_a_term_that_outweighs_the_anchor_is_refused() -> None:
    assert fault_of(Loss((CE, Weighted(ActiveContour(0.0), -2.0))), num_classes=2) is None
    for term in (ActiveContour(0.0), Conservative()):
        assert fault_of(Loss((CE, Weighted(term, 5.0))), num_classes=2) is not None


@pytest.mark.parametrize(
    "loss",
    [
        Loss((CE,)),
        Loss((Weighted(CrossEntropy(smoothing=0.1)),)),
        Loss((Weighted(Focal(3.0)), Weighted(Dice(), 3.0))),
        Loss((Weighted(LovaszSoftmax(absent="penalise_fp")),)),
        Loss((Weighted(Dice()), Weighted(HausdorffDistance(), 2.0))),
        Loss(
            (
                Weighted(GeneralisedDice(), 0.0, BoundaryRamp(falls=True)),
                Weighted(Boundary(), 0.0, BoundaryRamp()),
            )
        ),
        Loss((CE, Weighted(HausdorffDistance(), 4.0, StepOn(0.5)))),
    ],
    ids=lambda loss: "+".join(weighted.term.kind for weighted in loss.terms),
)
@pytest.mark.parametrize("num_classes", [2, 3, 19])
def test_good_losses_pass(loss: Loss, num_classes: int) -> None:
    assert fault_of(loss, num_classes=num_classes) is None


def test_losses_of_the_compact_space_pass() -> None:
    compact, rng = load_space("compact"), random.Random(0)
    faults = [fault_of(sample(compact, rng).loss, num_classes=3) for _ in range(8)]
    assert faults == [None] * 8


def test_a_class_that_the_data_lack_is_named() -> None:
    fault = fault_of(Loss((CE, Weighted(Topology()))), num_classes=2)
    assert fault is not None and (fault.lacks, fault.message) == (
        "fits",
        "topology: inner 2 and outer 1 given; classes under 2 are allowed.",
    )
    assert fault_of(Loss((CE, Weighted(Topology(inner=7, outer=1)))), num_classes=8) is None


def test_a_second_question_costs_nothing_and_random_numbers_stay() -> None:
    loss = Loss((CE, Weighted(Dice(), 0.25)))
    before = torch.get_rng_state()
    first = fault_of(loss, num_classes=2)
    asked = fault_of.cache_info().hits
    assert fault_of(loss, num_classes=2) is first
    assert fault_of.cache_info().hits == asked + 1
    assert torch.equal(before, torch.get_rng_state())
