"""Networks that find objects in legs: their losses, their maps of objects, resuming, what is refused."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from objects import FINDER

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate, to_json
from search_spaces.contexts.none import NoContext
from search_spaces.encoders.resnet import Resnet
from search_spaces.loss import Loss, Weighted
from search_spaces.losses.detection import Detection
from search_spaces.recipe import Augmentation, Recipe
from search_spaces.regions import Region
from search_spaces.skips.none import NoSkip
from workers.checkpoint import load_checkpoint
from workers.contract import DataView, EpochResult, Leg, LegResult
from workers.distance_maps import label_maps
from workers.leg import open_work, run_leg

MakeLeg = Callable[..., Leg]
TINY = Architecture(
    Resnet(18, width=4), NoContext(), NoSkip(), dataclasses.replace(FINDER, proposals=20, samples=16)
)


def candidate(**recipe: Any) -> Candidate:
    every = Augmentation(flip=True, rotate_deg=15, zoom=0.2, noise=0.1)
    return Candidate(TINY, Loss((Weighted(Detection()),)), Recipe(average=0.9, augmentation=every, **recipe))


def trained(leg: Leg) -> tuple[LegResult, list[EpochResult]]:
    epochs: list[EpochResult] = []
    result = run_leg(leg, epochs.append, lambda: False)
    assert result.status == "completed", result.message
    return result, epochs


def test_objects_are_parts_that_hang_together() -> None:
    """By hand; two classes that touch are two objects, two of one class that touch are one, ignored pixels are none."""
    labels = torch.tensor([[[1, 1, 0, 1], [0, 2, 2, 0], [255, 2, 0, 1], [255, 1, 1, 1]]])
    maps = label_maps(labels, frozenset({"objects"}), num_classes=3, ignore_index=255, spacing=(1.0, 1.0))
    wanted = [[1, 1, 0, 2], [0, 4, 4, 0], [0, 4, 0, 3], [0, 3, 3, 3]]
    assert maps["objects"].tolist() == [wanted]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_leg_trains_and_scores_it(make_leg: MakeLeg, precision: str) -> None:
    _, epochs = trained(make_leg(candidate(precision=precision)))
    assert len(epochs) == 2 and all(0 < epoch.loss < 20 for epoch in epochs)
    assert all(0 <= epoch.metrics["dice"] <= 1 for epoch in epochs)


def test_a_training_that_was_cut_goes_on_bit_for_bit(make_leg: MakeLeg) -> None:
    """Boxes are sampled at random: from the generator that is seeded for each epoch."""
    _, whole = trained(make_leg(candidate()))
    _, first = trained(make_leg(candidate(), fence=8, last_epoch=1))
    torch.rand(3)  # what else happens in a process must not count
    _, second = trained(make_leg(candidate(), fence=9, first_epoch=1, checkpoint=first[-1].checkpoint))
    assert [epoch.loss for epoch in whole] == [first[0].loss, second[0].loss]
    ends = [load_checkpoint(epochs[-1].checkpoint)[0] for epochs in (whole, second)]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_loader_processes_and_parts_of_a_batch_make_it_train_too(make_leg: MakeLeg) -> None:
    _, alone = trained(make_leg(candidate(), last_epoch=1))
    _, loaded = trained(make_leg(candidate(), fence=8, last_epoch=1, loader_workers=1))
    assert alone[0].loss == loaded[0].loss
    trained(make_leg(candidate(), fence=9, last_epoch=1, micro_batches=2))


def test_its_precision_can_be_measured(make_leg: MakeLeg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.precision.has_fast_bf16", lambda: True)
    _, [first] = trained(make_leg(candidate(), last_epoch=1, precision="measured"))
    assert first.metrics["step_ms/fp32"] > 0


def test_a_training_that_explodes_has_diverged(make_leg: MakeLeg) -> None:
    hot = candidate(learning_rate=1e30)
    result = run_leg(make_leg(hot), lambda _: None, lambda: False)
    assert result.status == "diverged", result.message


def test_regions_are_refused(make_leg: MakeLeg, scans: DataView) -> None:
    view = dataclasses.replace(scans, regions=(Region("box", (1,)), Region("all", (0, 1))))
    result = run_leg(make_leg(candidate(), data=view), lambda _: None, lambda: False)
    assert result.status == "failed"
    assert "loss: detection looks at objects of classes, and regions are learned here" in result.message


def test_a_leg_with_another_loss_is_refused(make_leg: MakeLeg, small: Candidate) -> None:
    leg = make_leg(candidate())
    leg = dataclasses.replace(leg, candidate={**leg.candidate, "loss": to_json(small.loss)})
    with pytest.raises(ValueError, match="is trained by losses of its own; choose the term detection alone"):
        open_work(leg)
