"""Training on a card, where there is one: every operation runs, checkpoints move, memory that is short is found and helped."""

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from search_spaces.candidate import Candidate
from search_spaces.loss import Loss, Weighted
from search_spaces.losses.boundary import Boundary
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.hausdorff_distance import HausdorffDistance
from search_spaces.losses.unet_border import UNetBorder
from search_spaces.preset import load_preset
from search_spaces.regions import Region, Regions
from search_spaces.space import load_space, sample
from workers.contract import EpochResult, Leg, LegResult
from workers.evaluate import class_names, evaluate
from workers.leg import open_work, run_leg

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no card here")]

MakeLeg = Callable[..., Leg]


def run(leg: Leg) -> tuple[LegResult, list[EpochResult]]:
    epochs: list[EpochResult] = []
    return run_leg(leg, epochs.append, lambda: False), epochs


def with_recipe(candidate: Candidate, **recipe: Any) -> Candidate:
    return dataclasses.replace(candidate, recipe=dataclasses.replace(candidate.recipe, **recipe))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("seed", range(8))
def test_candidates_of_the_space_train(make_leg: MakeLeg, seed: int, precision: str) -> None:
    drawn = sample(load_space("compact"), random.Random(seed))
    candidate = with_recipe(drawn, precision=precision, learning_rate=1e-3)
    ended, epochs = run(make_leg(candidate, device="cuda", loader_workers=seed % 3))
    assert ended.status == "completed", ended.message
    assert len(epochs) == 2 and all(0 <= epoch.metrics["dice"] <= 1 for epoch in epochs)


@pytest.mark.parametrize("name", ["small_unet", "small_deeplabv3plus"])
def test_presets_learn(make_leg: MakeLeg, name: str) -> None:
    ended, epochs = run(make_leg(load_preset(name).candidate(), device="cuda", last_epoch=4))
    assert ended.status == "completed", ended.message
    assert epochs[-1].loss < epochs[0].loss


@pytest.mark.parametrize("regions", [(), (Region("box", (1,)),)], ids=["classes", "regions"])
def test_losses_with_maps_train_alike_on_a_card_and_on_cores(
    make_leg: MakeLeg, small: Candidate, regions: Regions
) -> None:
    """A card makes signed distances itself; the loss of the first epoch is the same within its rounding."""
    terms = (CrossEntropy(), Boundary(), UNetBorder(), HausdorffDistance())
    candidate = dataclasses.replace(small, loss=Loss(tuple(map(Weighted, terms))))
    view = dataclasses.replace(make_leg().data, regions=regions)
    losses = []
    for fence, device in enumerate(("cuda", "cpu")):
        ended, epochs = run(make_leg(candidate, data=view, device=device, fence=fence, last_epoch=1))
        assert ended.status == "completed", ended.message
        losses.append(epochs[0].loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


@pytest.mark.parametrize(("first", "then"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_trial_moves_between_a_card_and_cores(
    make_leg: MakeLeg, small: Candidate, first: str, then: str
) -> None:
    """A resumed leg continues on the other device within rounding of the same training."""
    candidate = with_recipe(small, precision="fp32")
    _, whole = run(make_leg(candidate, device=then, last_epoch=4))
    _, begun = run(make_leg(candidate, device=first, fence=8))
    leg = make_leg(
        candidate, device=then, fence=9, first_epoch=2, last_epoch=4, checkpoint=begun[-1].checkpoint
    )
    ended, rest = run(leg)
    assert ended.status == "completed", ended.message
    assert [epoch.epoch for epoch in rest] == [3, 4]
    assert rest[-1].loss == pytest.approx(whole[-1].loss, rel=0.05)


def test_both_devices_score_a_checkpoint_alike(make_leg: MakeLeg, small: Candidate) -> None:
    _, epochs = run(make_leg(with_recipe(small, precision="fp32"), device="cuda"))
    found = {}
    for device in ("cuda", "cpu"):
        leg = make_leg(
            with_recipe(small, precision="fp32"),
            device=device, first_epoch=2, last_epoch=4, checkpoint=epochs[-1].checkpoint,
        )  # fmt: skip
        work = open_work(leg)
        found[device] = evaluate(
            work.trainer.network,
            work.scored,
            leg.data,
            names=class_names(work.dataset),
            ignore_index=work.dataset.manifest.ignore_index,
        ).metrics
    assert found["cuda"] == pytest.approx(found["cpu"], abs=2e-3)
    assert found["cuda"] == pytest.approx(epochs[-1].metrics, abs=1e-6)


@pytest.fixture
def little_memory() -> Iterator[Callable[[float], None]]:
    """Sets how many bytes of the card this process may have."""
    total = torch.cuda.get_device_properties(0).total_memory

    def limit(most: float) -> None:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1.0, most / total))

    yield limit
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_batch_that_does_not_fit_fits_in_parts(
    make_leg: MakeLeg, little_memory: Callable[[float], None]
) -> None:
    candidate = with_recipe(load_preset("small_unet").candidate(), precision="fp32")
    view = dataclasses.replace(make_leg().data, size=(256, 256), batch=16, epoch_samples=16)

    fences = itertools.count(1)

    def reserved(parts: int) -> tuple[LegResult, int]:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        leg = make_leg(
            candidate, fence=next(fences), device="cuda", data=view, last_epoch=1, micro_batches=parts
        )
        ended, _ = run(leg)
        return ended, torch.cuda.max_memory_reserved()

    (one, whole), (other, parts) = reserved(1), reserved(8)
    assert one.status == other.status == "completed", one.message + other.message
    print(f"a step of 16 at 256 x 256: {whole / 2**20:.0f} MiB; in 8 parts {parts / 2**20:.0f} MiB")
    assert parts < whole / 2
    little_memory((whole + parts) / 2)
    one, _ = reserved(1)
    assert one.status == "out_of_memory", one.status + one.message
    other, _ = reserved(8)
    assert other.status == "completed", other.message
