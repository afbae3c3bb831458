"""Regions beside their problems of two classes: counts, metrics, maps, legs, descriptions, pictures."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from search_spaces.architecture import Auxiliary
from search_spaces.candidate import Candidate, from_json
from search_spaces.loss import Loss, Weighted
from search_spaces.losses.adversarial import Adversarial
from search_spaces.losses.boundary import Boundary
from search_spaces.losses.consistency import Consistency
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.losses.hausdorff_distance import HausdorffDistance
from search_spaces.losses.unet_border import UNetBorder
from search_spaces.region_loss import region_loss
from search_spaces.regions import Region
from search_spaces.scores import LossExtras
from workers.checkpoint import load_checkpoint
from workers.contract import DataView, EpochResult, Leg
from workers.data.dataset import open_dataset
from workers.data.ingest import ingest
from workers.distance_maps import label_maps
from workers.evaluate import class_names, evaluate, merge
from workers.leg import open_work, run_leg
from workers.measure import all_measures, measured_metrics
from workers.metrics import bootstrap_dice, dice_scores, metric_names, summary, summary_of_cases
from workers.network_file import Description, describe_network
from workers.prepared_cases import PreparedCases
from workers.preprocessing import Undo, fit, restore, restore_mask_probabilities, restore_masks
from workers.regions import hold_first_class, in_words, inside_regions, painted
from workers.seeding import generator

MakeLeg = Callable[..., Leg]
WHOLE, CORE, EDGE = Region("whole", (1, 2)), Region("core", (2,)), Region("edge", (0, 1))
REGIONS = (WHOLE, CORE)


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> DataView:
    """Pictures of 20 x 22 with a grey box, a bright core in it and a few ignored pixels; no core in every third."""
    folder = tmp_path_factory.mktemp("nested")
    for place in ("images", "masks"):
        (folder / "raw" / place).mkdir(parents=True)
    for number in range(12):
        rng = np.random.default_rng(number)
        labels = np.zeros((20, 22), np.uint8)
        x, y = rng.integers(1, 8, size=2)
        labels[x : x + 10, y : y + 11] = 1
        if number % 3:
            labels[x + 3 : x + 7, y + 3 : y + 8] = 2
        image = np.clip(rng.normal(60, 10, labels.shape) + 70 * labels, 0, 255).astype(np.uint8)
        labels[0, :4] = 255
        Image.fromarray(image).save(folder / "raw/images" / f"{number:02d}.png")
        Image.fromarray(labels).save(folder / "raw/masks" / f"{number:02d}.png")
    (folder / "raw/classes.json").write_text(json.dumps(["background", "rind", "core"]))
    manifest = ingest(folder / "raw", str(folder / "set"))
    return DataView(str(folder / "set"), manifest.digest, "images", (16, 16), 4, 12, REGIONS)


def test_metrics_of_regions_by_hand() -> None:
    """whole: TP 3, FN 1, FP 2, TN 4; core is neither there nor predicted."""
    counts = np.array([[[4, 2], [1, 3]], [[10, 0], [0, 0]]])
    assert summary(counts, ("whole", "core")) == pytest.approx(
        {
            "dice/whole": 6 / 9, "iou/whole": 3 / 6, "precision/whole": 3 / 5, "recall/whole": 3 / 4,
            "specificity/whole": 4 / 6, "specificity/core": 1, "accuracy/whole": 7 / 10, "accuracy/core": 1,
            "dice": 6 / 9, "miou": 3 / 6, "precision": 3 / 5, "recall": 3 / 4,
            "specificity": (4 / 6 + 1) / 2, "accuracy": (7 / 10 + 1) / 2,
        }
    )  # fmt: skip


def test_every_name_of_a_region_is_announced() -> None:
    cases = np.random.default_rng(0).integers(1, 9, (3, 2, 2, 2))
    found = summary_of_cases(cases, ("whole", "core"))
    assert found.keys() == set(metric_names(("whole", "core"), regions=True))
    assert found["case_dice"] == pytest.approx(np.mean([dice_scores(case) for case in cases]))


def test_intervals_of_a_region_are_those_of_its_two_classes() -> None:
    cases = np.random.default_rng(1).integers(1, 50, (6, 2, 2, 2))
    for region in (0, 1):
        ours = bootstrap_dice(cases, classes=[region], generator=generator(1, "b"), draws=50)
        theirs = bootstrap_dice(cases[:, region], classes=[1], generator=generator(1, "b"), draws=50)
        assert ours == theirs


def logits_of(windows: torch.Tensor) -> torch.Tensor:
    """Two logits a pixel that depend on its value, so that the regions overlap, disagree and err."""
    grey = windows[:, 0]
    return torch.stack([grey - 0.2, 0.7 * grey - 0.6], dim=1)


def test_a_network_scores_in_each_region_what_it_scores_as_a_problem_of_two_classes(nested: DataView) -> None:
    """Counts and every measure, against the evaluator on labels and logits of one region at a time."""
    dataset = open_dataset(nested.dataset)
    cases = list(PreparedCases(dataset, "train", fit(small_choices(), dataset.manifest)))
    measures = [one for one in all_measures() if one.of_regions]
    options: dict[str, Any] = {"ignore_index": 255, "measures": measures}
    found = evaluate(logits_of, cases, nested, names=class_names(dataset), **options)
    assert found.names == ("whole", "core") and found.averaged == [0, 1]
    announced = {*metric_names(found.names, regions=True), *measured_metrics(found.names, regions=True)}
    assert found.metrics.keys() <= announced
    plain = dataclasses.replace(nested, regions=())
    each = []
    for number, region in enumerate(REGIONS):

        def two(windows: torch.Tensor, number: int = number) -> torch.Tensor:
            z = logits_of(windows)[:, number]
            return torch.stack([torch.zeros_like(z), z], dim=1)

        truths = [
            np.where(case.truth == 255, 255, np.isin(case.truth, region.classes)).astype(np.uint8)
            for case in cases
        ]
        binary = [dataclasses.replace(case, truth=truth) for case, truth in zip(cases, truths, strict=True)]
        alone = evaluate(two, binary, plain, names=("background", region.name), **options)
        np.testing.assert_array_equal(found.counts[:, number], alone.counts)
        each.append(alone.metrics)
        for metric in (
            "dice",
            "iou",
            "precision",
            "recall",
            "specificity",
            "hd95",
            "asd",
            "boundary_f1",
            "object_f1",
        ):
            name = f"{metric}/{region.name}"
            assert found.metrics[name] == alone.metrics[name], name
        assert found.metrics[f"ece/{region.name}"] == pytest.approx(
            alone.metrics[f"ece/{region.name}"], abs=1e-4
        )
    for metric in ("dice", "precision", "hd95", "boundary_f1", "case_boundary_f1", "object_recall"):
        expected = np.mean([metrics[metric] for metrics in each])
        if metric.startswith("case_"):  # a case without a core counts for the other region only
            assert 0 < found.metrics[metric] < 1
        else:
            assert found.metrics[metric] == pytest.approx(expected), metric
    assert found.case_metrics.keys() == set(found.ids)
    parts = [found._only([row]) for row in reversed(range(len(cases)))]
    assert merge(parts).metrics == found.metrics


def small_choices() -> Any:
    from search_spaces.preprocessing import Preprocessing

    return Preprocessing()


def test_masks_there_and_back() -> None:
    """As the label map of two classes; what was cut off is inside of regions that hold class 0 only."""
    scores = np.random.default_rng(0).normal(size=(2, 4, 5, 6)).astype(np.float32)
    turn = np.array([[1, -1], [0, 1], [2, 1]], float)
    undo = Undo((7, 4, 12), turn, (4, 7, 12), (slice(0, 4), slice(1, 6), slice(2, 8)), (4, 5, 6))
    found = restore_masks(undo, scores, outside=hold_first_class((CORE, EDGE)))
    for number, z in enumerate(scores):
        labels = restore(undo, np.stack([np.zeros_like(z), z]))
        inside = restore(undo, np.stack([np.zeros_like(z), np.ones_like(z)])) == 1
        np.testing.assert_array_equal(found[number][inside], (labels == 1)[inside])
        assert (found[number][~inside] == (number == 1)).all() and (~inside).sum() == 7 * 4 * 12 - 4 * 5 * 6
    sure = restore_mask_probabilities(undo, scores, outside=hold_first_class((CORE, EDGE)))
    np.testing.assert_array_equal(sure > 0.5, found)
    assert sure.dtype == np.float32


def test_regions_of_labels_and_their_picture_by_hand() -> None:
    labels = np.array([[0, 1, 2, 255]], np.uint8)
    inside = inside_regions(labels, (WHOLE, CORE, EDGE), ignore_index=255)
    assert inside.tolist() == [[[0, 1, 1, 255]], [[0, 0, 1, 255]], [[1, 1, 0, 255]]]
    assert painted(inside[:2]).tolist() == [[0, 1, 2, 255]]
    assert painted(inside[:2, :, :3] == 1).tolist() == [[0, 1, 2]]
    assert in_words(REGIONS, ("background", "rind", "core")) == "whole = rind, core; core = core"


def test_maps_of_regions_are_those_of_each_by_itself() -> None:
    labels = torch.zeros(2, 9, 10, dtype=torch.int64)
    labels[:, 1:6, 1:5], labels[0, 2:4, 2:4], labels[:, 7:, 7:] = 1, 2, 2
    labels[1, 0, 0] = 255
    needs: Any = frozenset({"distance", "neighbours"})
    options: dict[str, Any] = {"ignore_index": 255, "spacing": (1.0, 0.5)}
    found = label_maps(labels, needs, num_classes=3, regions=REGIONS, **options)
    assert found["distance"].shape == (2, 2, 2, 9, 10) and found["neighbours"].shape == (2, 2, 9, 10)
    for number, region in enumerate(REGIONS):
        inside = torch.isin(labels, torch.tensor(region.classes)).long().masked_fill(labels == 255, 255)
        alone = label_maps(inside, needs, num_classes=2, **options)
        assert torch.equal(found["distance"][:, number], alone["distance"])
        assert torch.equal(found["neighbours"][:, number], alone["neighbours"])
    assert not torch.equal(found["neighbours"][:, 0], found["neighbours"][:, 1])


def test_a_card_makes_the_same_maps(make_leg: MakeLeg, small: Candidate, nested: DataView) -> None:
    """What the trainer does on a card, done on cores."""
    work = open_work(make_leg(with_terms(small, CrossEntropy(), Boundary()), data=nested))
    _, labels, maps = next(work.batches)
    torch.testing.assert_close(work.trainer._signed_distances(labels, (1.0, 1.0)), maps["distance"])


def with_terms(candidate: Candidate, *terms: Any, balance: Any = "values") -> Candidate:
    first, *others = terms
    loss = Loss((Weighted(first), *(Weighted(term, -1.0) for term in others)), balance)
    return dataclasses.replace(candidate, loss=loss)


TERMS = (CrossEntropy(), Dice(), Boundary(), HausdorffDistance(), UNetBorder(), Consistency(), Adversarial())


@pytest.mark.parametrize("balance", ["values", "gradients"])
def test_regions_train_with_all_that_losses_need_and_two_legs_equal_one(
    make_leg: MakeLeg, small: Candidate, nested: DataView, tmp_path: Path, balance: str
) -> None:
    candidate = with_terms(small, *TERMS, balance=balance)
    whole: list[EpochResult] = []
    result = run_leg(make_leg(candidate, data=nested), whole.append, lambda: False)
    assert result.status == "completed", result.message
    halves: list[EpochResult] = []
    storage = str(tmp_path / "halves")
    run_leg(make_leg(candidate, data=nested, last_epoch=1, storage=storage), halves.append, lambda: False)
    later = make_leg(
        candidate, data=nested, first_epoch=1, storage=storage, fence=8, checkpoint=halves[0].checkpoint
    )
    run_leg(later, halves.append, lambda: False)
    assert [(e.loss, e.metrics) for e in whole] == [(e.loss, e.metrics) for e in halves]
    assert {"dice", "dice/whole", "iou/core", "miou", "accuracy/core"} <= whole[0].metrics.keys() | {
        "dice/core"
    }
    kept = load_checkpoint(whole[-1].checkpoint)[0]
    assert kept["critic/model/layers.0.weight"].shape[1] == 1 + 2  # the image and both regions
    assert ("loss/norms" in kept) == (balance == "gradients")


@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_follows_the_loss_of_regions_at_every_head(
    make_leg: MakeLeg, small: Candidate, nested: DataView, parts: int
) -> None:
    """Loss and gradient of the trainer's first batch, also where it is cut into parts."""
    architecture = dataclasses.replace(
        small.architecture, norm="group", auxiliary=(Auxiliary("encoder", -1),)
    )
    recipe = dataclasses.replace(small.recipe, precision="fp32", optimiser="sgd")
    candidate = dataclasses.replace(
        with_terms(small, CrossEntropy()), architecture=architecture, recipe=recipe
    )
    work = open_work(make_leg(candidate, data=nested, micro_batches=parts))
    trainer = work.trainer
    images, labels, maps = next(work.batches)
    assert maps == {} and trainer.model(images).shape == (4, 2, 16, 16)
    (logits, _), (deep, weight) = trainer.model.train().training_logits(images)
    expected = region_loss(candidate.loss, logits, labels, REGIONS)
    (expected + weight * region_loss(candidate.loss, deep, labels, REGIONS)).backward()
    slopes = [parameter.grad for parameter in trainer.model.parameters()]
    assert len(slopes) > 10 and all(slope is not None for slope in slopes)
    norm = torch.stack([slope.norm() for slope in slopes if slope is not None]).norm().item()
    near = 1e-4 if parts == 1 else 0.02  # the parts have not equally many ignored pixels
    assert trainer._step(images, labels, LossExtras()).tolist() == pytest.approx(
        [expected.item(), norm], rel=near
    )


def test_a_picture_shows_small_regions_on_large_ones(
    make_leg: MakeLeg, small: Candidate, nested: DataView
) -> None:
    leg = make_leg(small, data=nested, last_epoch=1)
    assert run_leg(leg, lambda _: None, lambda: False).status == "completed"
    pictures = list((Path(leg.storage) / "pictures").iterdir())
    assert len(pictures) == 1
    with Image.open(pictures[0]) as picture:
        assert picture.size[1] == 2 * 192


def test_a_description_tells_regions_by_the_names_of_their_classes(
    nested: DataView, small: Candidate
) -> None:
    dataset = open_dataset(nested.dataset)
    described = describe_network(small, dataset, nested)
    written = described.to_json()
    assert written["format"] == 2
    assert written["regions"] == [
        {"name": "whole", "classes": ["rind", "core"]}, {"name": "core", "classes": ["core"]},
    ]  # fmt: skip
    read = Description.from_json(json.loads(json.dumps(written)))
    assert (read.view.regions, read.names, read.num_outputs) == (REGIONS, ("whole", "core"), 2)
    around = describe_network(small, dataset, dataclasses.replace(nested, adjacent_slices=1)).to_json()
    assert around["format"] == 3 and around["regions"] == written["regions"]
    assert Description.from_json(json.loads(json.dumps(around))).num_inputs == 3
    plain = describe_network(small, dataset, dataclasses.replace(nested, regions=())).to_json()
    assert plain["format"] == 1 and "regions" not in plain  # as older versions read and wrote it
    assert from_json(Candidate, plain["candidate"]) == small
