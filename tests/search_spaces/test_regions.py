"""Regions: every term is that of the problem of two classes, region by region."""

from dataclasses import replace

import pytest
import torch
from entries import PARTS, architecture_with, example
from loss_extras import extras
from torch import Tensor

from search_spaces.critic import build_critic
from search_spaces.errors import ShapeError
from search_spaces.exact_distance import signed_distance
from search_spaces.loss import Loss, LossTerm, Weighted
from search_spaces.loss_schedule import Linear
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.losses.hausdorff_distance import HausdorffDistance
from search_spaces.losses.topology import Topology
from search_spaces.network import build_model
from search_spaces.region_loss import (
    problems,
    region_critic_loss,
    region_gradient_norms,
    region_labels,
    region_loss,
    two_classes,
)
from search_spaces.regions import Region, Regions
from search_spaces.register import Entry, kinds, lookup
from search_spaces.scores import LossExtras

KINDS = [kind for kind in kinds(LossTerm) if kind not in ("topology", "detection")]
"""The one names a third class, the other looks at objects of classes."""
WHOLE, CORE, HALO = Region("whole", (1, 2, 3)), Region("core", (2, 3)), Region("halo", (1, 3))
REGIONS = (WHOLE, CORE, HALO)


def term_of(kind: str) -> LossTerm:
    return lookup(LossTerm, kind)()  # type: ignore[type-abstract]  # entries are concrete


def batch(ndim: int = 2) -> tuple[Tensor, Tensor]:
    """A logit a region; labels of four classes, with two ignored pixels and a sample in which class 3 lacks."""
    labels = torch.zeros(2, *[8] * ndim, dtype=torch.int64)
    labels[:, 1:7, 2:7] = 1
    labels[:, 3:6, 3:6] = 2
    labels[0, 4, 4:6] = 3
    labels[1, 0, :2] = 255
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, len(REGIONS), *[8] * ndim, generator=generator), labels


def inside(labels: Tensor, region: Region) -> Tensor:
    """The labels of one region, the obvious way."""
    found = torch.zeros_like(labels)
    for index in region.classes:
        found[labels == index] = 1
    found[labels == 255] = 255
    return found


def given(labels: Tensor, regions: Regions) -> LossExtras:
    """Extras of a batch of regions: what each region needs by itself, with an axis of regions; the critic sees all maps."""
    each = [extras(inside(labels, region), 2) for region in regions]
    stacked = {
        name: torch.stack([getattr(one, name) for one in each], dim=1) for name in ("distance", "neighbours")
    }
    second = torch.stack([one.second[:, 1] - one.second[:, 0] for one in each if one.second is not None], 1)
    return replace(each[0], **stacked, second=second)


def by_hand(term: LossTerm, logits: Tensor, labels: Tensor, regions: Regions) -> Tensor:
    """The mean over regions of the term on (0, z) and labels made one by one."""
    values = []
    for number, region in enumerate(regions):
        z, truth = logits[:, number], inside(labels, region)
        mine = extras(truth, 2)
        assert mine.second is not None
        difference = mine.second[:, 1] - mine.second[:, 0]
        mine = replace(mine, second=torch.stack([torch.zeros_like(difference), difference], dim=1))
        values.append(term(torch.stack([torch.zeros_like(z), z], dim=1), truth, extras=mine))
    return torch.stack(values).sum() / len(regions)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_term_of_regions_is_the_mean_of_problems_of_two_classes(kind: str, ndim: int) -> None:
    """The critic is left out here: it sees all regions at once."""
    if kind == "adversarial":
        return
    term, (logits, labels) = term_of(kind), batch(ndim)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = Loss((Weighted(CrossEntropy()), Weighted(term, 1.0)))
    value = region_loss(loss, ours, labels, REGIONS, extras=given(labels, REGIONS))
    expected = (
        by_hand(CrossEntropy(), theirs, labels, REGIONS) + 2 * by_hand(term, theirs, labels, REGIONS)
    ) / 3
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    value.backward()
    expected.backward()
    assert ours.grad is not None and theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_region_that_is_one_of_two_classes_has_exactly_the_gradient_of_the_two_classes(kind: str) -> None:
    """One region {1} of a data set with two classes, against a network with logits (0, z) and the classes themselves."""
    term, (logits, labels) = term_of(kind), batch()
    labels[(labels == 2) | (labels == 3)] = 1
    only, z = (Region("only", (1,)),), logits[:, :1]
    ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
    plain = extras(labels, 2)
    assert plain.second is not None and plain.distance is not None and plain.neighbours is not None
    second = plain.second[:, 1:]
    mine = replace(
        plain, distance=plain.distance[:, None], neighbours=plain.neighbours[:, None], second=second
    )
    mine = replace(mine, critic=lambda image, maps: (image[:, 0] * maps[:, 0]).flatten(1).mean(1))
    plain = replace(plain, second=two_classes(second[:, 0]))
    loss = Loss((Weighted(CrossEntropy()), Weighted(term)))
    value = region_loss(loss, ours, labels, only, extras=mine)
    expected = loss(two_classes(theirs[:, 0]), labels, extras=plain)
    value.backward()
    expected.backward()
    assert ours.grad is not None and theirs.grad is not None
    if kind == "adversarial":  # a sigmoid here, a softmax there
        torch.testing.assert_close(ours.grad, theirs.grad)
    else:
        assert torch.equal(value, expected) and torch.equal(ours.grad, theirs.grad)


def test_regions_by_hand() -> None:
    labels = torch.tensor([[[0, 1, 2, 3, 255]]])
    found = region_labels(labels, REGIONS, ignore_index=255)
    assert found.tolist() == [[[[0, 1, 1, 1, 255]], [[0, 0, 1, 1, 255]], [[0, 1, 0, 1, 255]]]]


def test_a_problem_has_its_own_maps() -> None:
    logits, labels = batch()
    every = given(labels, REGIONS)
    for number, (two, truth, mine) in enumerate(
        problems(logits, labels, REGIONS, ignore_index=255, extras=every)
    ):
        assert torch.equal(two[:, 1] - two[:, 0], logits[:, number]) and not two[:, 0].any()
        assert torch.equal(truth, inside(labels, REGIONS[number]))
        masks = torch.stack([truth == 0, truth == 1], dim=1)
        distances = signed_distance(masks.flatten(0, 1), ()).view(masks.shape)
        assert mine.distance is not None and torch.equal(mine.distance, distances)


def test_nothing_valid_is_zero_with_a_graph() -> None:
    logits, labels = batch()
    leaf = logits.clone().requires_grad_()
    loss = Loss((Weighted(CrossEntropy()), Weighted(Dice())))
    value = region_loss(loss, leaf, torch.full_like(labels, 255), REGIONS)
    value.backward()
    assert value.item() == 0 and leaf.grad is not None and not leaf.grad.any()


def test_a_large_region_does_not_outvote_a_small_one() -> None:
    """Dice over the batch counts each region by itself: one that is all wrong costs a whole share, however small it is."""
    labels = torch.zeros(1, 20, 20, dtype=torch.int64)
    labels[0, :10] = 1
    labels[0, 0, 0] = 2
    right = 40.0 * (2 * region_labels(labels, (Region("a", (1, 2)), Region("b", (2,))), ignore_index=255) - 1)
    wrong = right.clone()
    wrong[:, 1] *= -1
    loss = Loss((Weighted(CrossEntropy()), Weighted(Dice(per_sample=False), 30.0)))  # all but Dice alone
    found = region_loss(loss, wrong.float(), labels, (Region("a", (1, 2)), Region("b", (2,))))
    assert found.item() == pytest.approx(0.5, abs=0.01)


def test_gradient_norms_are_those_of_the_means_over_regions() -> None:
    logits, labels = batch()
    every = given(labels, REGIONS)
    loss = Loss((Weighted(CrossEntropy()), Weighted(HausdorffDistance(), 1.0, Linear(0.5, 1.0))), "gradients")
    norms = region_gradient_norms(loss, logits, labels, REGIONS, extras=every)
    for weighted, norm in zip(loss.terms, norms, strict=True):
        leaf = logits.clone().requires_grad_()
        by_hand(weighted.term, leaf, labels, REGIONS).backward()
        assert leaf.grad is not None and norm.item() == pytest.approx(leaf.grad.norm().item(), rel=1e-5)
    balanced = region_loss(loss, logits, labels, REGIONS, extras=every, norms=norms)
    assert torch.isfinite(balanced)


def test_a_critic_sees_the_maps_of_all_regions_once() -> None:
    logits, labels = batch()
    seen = []

    def critic(image: Tensor, maps: Tensor) -> Tensor:
        seen.append(maps)
        return maps.flatten(1).mean(1)

    every = replace(given(labels, REGIONS), critic=critic)
    leaf = logits.clone().requires_grad_()
    loss = Loss((Weighted(CrossEntropy()), Weighted(term_of("adversarial"), 20.0)))
    value = region_loss(loss, leaf, labels, REGIONS, extras=every)
    expected = torch.nn.functional.softplus(-leaf.sigmoid().flatten(1).mean(1)).mean()
    assert len(seen) == 1 and torch.equal(seen[0], logits.sigmoid())
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
    norms = region_gradient_norms(loss, logits, labels, REGIONS, extras=every)
    slope = torch.autograd.grad(expected, leaf)[0]
    assert norms[1].item() == pytest.approx(slope.norm().item(), rel=1e-4)


def test_a_critic_learns_from_maps_that_are_moved_towards_the_labels_of_each_region() -> None:
    logits, labels = batch()
    image = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    critic = build_critic(1, 3, ndim=2, seed=0)
    found = region_critic_loss(critic, image, logits, labels, REGIONS, ignore_index=255)
    p = logits.sigmoid()
    truth = torch.stack([inside(labels, region) for region in REGIONS], dim=1)
    moved = torch.where(truth == 1, p.clamp(min=0.9), torch.where(truth == 0, p.clamp(max=0.1), p))
    softplus = torch.nn.functional.softplus
    expected = (softplus(-critic(image, moved)).mean() + softplus(critic(image, p)).mean()) / 2
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("part", "family", "kind"),
    [one for one in PARTS if one[0] in ("decoder", "head") and one[2] != "mask_rcnn"],
    ids=str,
)
def test_a_network_may_have_one_logit(part: str, family: type[Entry], kind: str) -> None:
    architecture = architecture_with(part, example(family, kind))
    network = build_model(architecture, in_channels=1, num_classes=1, ndim=2, seed=0)
    logits = network(torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    logits.square().sum().backward()
    assert logits.shape == (2, 1, 16, 16)
    slopes = [weight.grad for weight in network.parameters() if weight.grad is not None]
    assert slopes and all(torch.isfinite(slope).all() for slope in slopes)


def test_sizes_that_do_not_fit_are_named() -> None:
    logits, labels = batch()
    loss = Loss((Weighted(CrossEntropy()),))
    with pytest.raises(
        ShapeError, match=r"loss of 2 regions: logits \(2, 3, 8, 8\) and labels \(2, 8, 8\) given"
    ):
        region_loss(loss, logits, labels, REGIONS[:2])
    with pytest.raises(ShapeError, match="classes under 2 are allowed"):
        region_loss(Loss((Weighted(CrossEntropy()), Weighted(Topology()))), logits, labels, REGIONS)
