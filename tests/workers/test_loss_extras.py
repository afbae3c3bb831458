"""What losses need beside logits and labels reaches them in training."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from search_spaces.candidate import Candidate
from search_spaces.loss import Loss, LossTerm, Weighted
from search_spaces.losses.boundary import Boundary
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.hausdorff_distance import HausdorffDistance
from search_spaces.losses.mumford_shah import MumfordShah
from search_spaces.losses.unet_border import UNetBorder
from search_spaces.recipe import Augmentation
from search_spaces.scores import LossExtras, Need, Scores
from workers.contract import DataView, EpochResult, Leg
from workers.leg import open_work, run_leg
from workers.trainer import Trainer

MakeLeg = Callable[..., Leg]
SEEN: list[LossExtras] = []


@dataclasses.dataclass(frozen=True, slots=True)
class Watcher(LossTerm):
    """A term that needs everything that labels and images give, and keeps what it was given."""

    role: ClassVar[Any] = "distribution"
    needs: ClassVar[frozenset[Need]] = frozenset({"distance", "neighbours", "image", "prediction_distance"})

    def value(self, scores: Scores) -> Tensor:
        SEEN.append(scores.extras)
        return scores.mean(scores.cross_entropy)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    SEEN.clear()
    yield


def with_loss(candidate: Candidate, *terms: LossTerm) -> Candidate:
    every = Augmentation(flip=True, rotate_deg=15, zoom=0.2, noise=0.1)
    recipe = dataclasses.replace(candidate.recipe, augmentation=every)
    return dataclasses.replace(candidate, loss=Loss(tuple(map(Weighted, terms))), recipe=recipe)


def watched(make_leg: MakeLeg, small: Candidate, **fields: Any) -> Trainer:
    work = open_work(make_leg(with_loss(small, CrossEntropy(), Boundary(), UNetBorder()), **fields))
    work.trainer.candidate = dataclasses.replace(work.trainer.candidate, loss=Loss((Weighted(Watcher()),)))
    work.trainer.train_epoch(2, work.batches)
    return work.trainer


def test_a_term_is_given_what_it_needs_in_the_unit_of_the_data(make_leg: MakeLeg, small: Candidate) -> None:
    watched(make_leg, small)
    assert [extras.fraction for extras in SEEN] == pytest.approx(
        [3 / 12, 4 / 12, 5 / 12]
    )  # epoch 2 of 4, 3 steps
    first = SEEN[0]
    assert first.spacing == (1.0, 1.0)  # in the plane; slices are 2.5 mm apart
    assert first.distance is not None and first.neighbours is not None and first.image is not None
    assert first.distance.shape == (4, 2, 16, 16) and first.neighbours.shape == (4, 16, 16)
    assert first.image.shape == (4, 1, 16, 16)
    assert first.distances is not None and not first.distances(torch.ones(2, 16, 16).bool()).any()


def test_the_image_of_a_slice_is_its_own(make_leg: MakeLeg, small: Candidate, scans: DataView) -> None:
    watched(make_leg, small, data=dataclasses.replace(scans, adjacent_slices=2))
    seen = [extras.image for extras in SEEN]
    work = open_work(
        make_leg(with_loss(small, CrossEntropy()), data=dataclasses.replace(scans, adjacent_slices=2))
    )
    for step, image in enumerate(seen):
        images, _ = work.trainer.training.batch(1, step)
        assert image is not None and torch.equal(image, images[:, 2:3])


def test_each_part_of_a_batch_has_its_own_maps(make_leg: MakeLeg, small: Candidate) -> None:
    watched(make_leg, small)
    whole = [SEEN[0].distance, SEEN[0].neighbours]
    SEEN.clear()
    watched(make_leg, small, micro_batches=2, fence=8)
    halves = [[extras.distance for extras in SEEN[:2]], [extras.neighbours for extras in SEEN[:2]]]
    for expected, parts in zip(whole, halves, strict=True):
        # tensors, as they are there
        assert expected is not None and torch.equal(torch.cat(parts), expected)  # type: ignore[arg-type]


def test_losses_with_maps_train_the_same_whoever_makes_the_maps(make_leg: MakeLeg, small: Candidate) -> None:
    terms = (CrossEntropy(), Boundary(), HausdorffDistance(), UNetBorder(), MumfordShah())
    losses = []
    for fence, loaders in ((7, 0), (8, 1)):
        epochs: list[EpochResult] = []
        leg = make_leg(with_loss(small, *terms), fence=fence, loader_workers=loaders, last_epoch=1)
        result = run_leg(leg, epochs.append, lambda: False)
        assert result.status == "completed", result.message
        losses.append(epochs[0].loss)
    assert losses[0] == losses[1]


def test_a_loss_without_needs_is_given_no_maps(make_leg: MakeLeg, small: Candidate) -> None:
    work = open_work(make_leg(with_loss(small, CrossEntropy())))
    _, _, maps = next(work.batches)
    assert maps == {}
