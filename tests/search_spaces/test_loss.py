"""Losses against slow and obvious versions, and at the edges where losses break."""

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from search_spaces.candidate import canonical
from search_spaces.errors import ShapeError, SpaceError
from search_spaces.loss import Loss, LossTerm, Weighted
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.losses.focal import Focal
from search_spaces.losses.tversky import Tversky
from search_spaces.region import Absent

TERMS: tuple[LossTerm, ...] = (
    CrossEntropy(),
    CrossEntropy(smoothing=0.1),
    Focal(gamma=0.5),
    Focal(gamma=2.0),
    Dice(),
    Dice(squared=True, per_sample=True, background=True),
    Dice(absent="skip"),
    Tversky(beta=0.3),
    Tversky(beta=0.7, per_sample=True, absent="one"),
)


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 5, 4, generator=generator)
    labels = torch.randint(0, 3, (2, 5, 4), generator=generator)
    labels[0, 0, :2] = 255
    return logits, labels


def pixels(logits: Tensor, labels: Tensor) -> list[tuple[int, list[float], int]]:
    """Sample, probabilities and label of every valid pixel, by plain arithmetic."""
    found = []
    for n, i, j in product(range(labels.shape[0]), range(labels.shape[1]), range(labels.shape[2])):
        if labels[n, i, j] != 255:
            powers = [math.exp(float(z)) for z in logits[n, :, i, j]]
            found.append((n, [power / sum(powers) for power in powers], int(labels[n, i, j])))
    return found


def slow_overlap(found: list[tuple[int, list[float], int]], c: int, term: Dice | Tversky) -> float:
    overlap = sum(p[c] for _, p, label in found if label == c)
    false_positive = sum(p[c] for _, p, label in found if label != c)
    false_negative = sum(1 - p[c] for _, p, label in found if label == c)
    present = any(label == c for _, _, label in found)
    if isinstance(term, Tversky):
        smooth = 0.0 if present else 0.5
        wrong = term.beta * false_positive + (1 - term.beta) * false_negative
        return (overlap + smooth) / (overlap + wrong + smooth)
    smooth = 0.0 if present else 1.0
    predicted = sum(p[c] ** 2 if term.squared else p[c] for _, p, _ in found)
    labelled = sum(label == c for _, _, label in found)
    return (2 * overlap + smooth) / (predicted + labelled + smooth)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_is_its_formula(gamma: float) -> None:
    logits, labels = batch()
    found = pixels(logits, labels)
    slow = sum((1 - p[label]) ** gamma * -math.log(p[label]) for _, p, label in found) / len(found)
    assert Focal(gamma)(logits, labels).item() == pytest.approx(slow, rel=1e-5)  # float32 sums


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_its_formula(smoothing: float) -> None:
    logits, labels = batch()
    found = pixels(logits, labels)
    slow = 0.0
    for _, p, label in found:
        target = [smoothing / 3 + (1 - smoothing) * (c == label) for c in range(3)]
        slow -= sum(t * math.log(q) for t, q in zip(target, p, strict=True)) / len(found)
    assert CrossEntropy(smoothing)(logits, labels).item() == pytest.approx(slow, rel=1e-5)  # float32 sums


@pytest.mark.parametrize("term", [term for term in TERMS if isinstance(term, Dice | Tversky)], ids=repr)
def test_region_terms_are_their_formula(term: Dice | Tversky) -> None:
    logits, labels = batch()
    found = pixels(logits, labels)
    classes = range(0 if term.background else 1, 3)
    groups = [[pixel for pixel in found if pixel[0] == n] for n in (0, 1)] if term.per_sample else [found]
    ratios = [slow_overlap(group, c, term) for group in groups for c in classes]
    slow = 1 - sum(ratios) / len(ratios)
    assert term(logits, labels).item() == pytest.approx(slow, rel=1e-5)  # float32 sums


@pytest.mark.parametrize(
    ("absent", "expected"), [("penalise_fp", (0.5 + 0.8) / 2), ("skip", 0.5), ("one", 0.5 / 2)]
)
def test_policies_for_an_absent_class(absent: Absent, expected: float) -> None:
    """Twelve pixels, all of class 1, every probability 1/3.

    Class 1: overlap 4, predicted 4, labelled 12, ratio 8/16. Class 2: 4 soft false positives, ratio 1/(4 +
    1).
    """
    labels = torch.ones(1, 3, 4, dtype=torch.int64)
    assert Dice(absent=absent)(torch.zeros(1, 3, 3, 4), labels).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("term", TERMS, ids=repr)
def test_nothing_valid_is_zero_with_a_graph(term: LossTerm) -> None:
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    value = term(logits, torch.full((2, 4, 4), 255))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("term", TERMS, ids=repr)
@pytest.mark.parametrize("scale", [1e4, -1e4, 0.0])
@pytest.mark.parametrize("label", [0, 2])
def test_extreme_logits_and_one_class_images_stay_finite(term: LossTerm, scale: float, label: int) -> None:
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 0] = scale
    logits.requires_grad_()
    value = term(logits, torch.full((1, 4, 4), label))
    value.backward()
    assert logits.grad is not None
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("term", TERMS, ids=repr)
def test_ignored_pixels_change_nothing(term: LossTerm) -> None:
    logits, labels = batch()
    loud = logits.clone()
    loud[0, 1, 0, :2] = 50.0
    assert torch.equal(term(logits, labels), term(loud, labels))


@pytest.mark.parametrize("term", TERMS, ids=repr)
def test_autocast_and_half_logits_are_computed_in_float32(term: LossTerm) -> None:
    logits, labels = batch()
    half = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = term(half, labels)
    assert value.dtype == torch.float32
    assert torch.equal(value, term(half.float(), labels))


@pytest.mark.parametrize("term", TERMS, ids=repr)
def test_descent_finds_the_mask(term: LossTerm) -> None:
    labels = torch.zeros(1, 12, 12, dtype=torch.int64)
    labels[:, 2:9, 3:9] = 1
    labels[:, 5:7, 5:7] = 2
    logits = torch.zeros(1, 3, 12, 12, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.3)
    for _ in range(60):
        optimiser.zero_grad()
        term(logits, labels).backward()
        optimiser.step()
    assert torch.equal(logits.argmax(dim=1), labels)


def test_a_loss_is_the_weighted_mean_of_its_terms() -> None:
    logits, labels = batch()
    loss = Loss((Weighted(CrossEntropy()), Weighted(Dice(), 1.0), Weighted(Focal(), -1.0)))
    parts = [term(logits, labels).item() for term in (CrossEntropy(), Dice(), Focal())]
    expected = (parts[0] + 2 * parts[1] + 0.5 * parts[2]) / 3.5
    assert loss(logits, labels).item() == pytest.approx(expected, rel=1e-6)


def test_canonical_form_keeps_the_value() -> None:
    logits, labels = batch()
    loss = Loss((Weighted(Dice()), Weighted(CrossEntropy(), 1.5), Weighted(Dice(), 0.0)))
    form = canonical(loss)
    assert [type(weighted.term) for weighted in form.terms] == [CrossEntropy, Dice]
    assert form(logits, labels).item() == pytest.approx(loss(logits, labels).item(), rel=1e-3)  # 4 digits
    assert canonical(form) == form


def test_special_cases_have_one_name() -> None:
    assert canonical(Focal(gamma=0.0)) == CrossEntropy()
    assert canonical(Tversky(beta=0.5, per_sample=True)) == Dice(per_sample=True)
    logits, labels = batch()
    labels[:] = torch.where(labels == 2, 1, labels)
    assert Tversky(beta=0.5)(logits, labels).item() == pytest.approx(Dice()(logits, labels).item(), rel=1e-6)
    assert Focal(gamma=0.0)(logits, labels).item() == pytest.approx(
        CrossEntropy()(logits, labels).item(), rel=1e-6
    )


def test_negligible_terms_vanish() -> None:
    assert canonical(Loss((Weighted(CrossEntropy()), Weighted(Dice(), -11.0)))) == Loss(
        (Weighted(CrossEntropy()),)
    )


def test_three_dimensions_are_the_same_formula() -> None:
    logits, labels = batch()
    for term in TERMS:
        flat = term(logits, labels)
        deep = term(logits.unsqueeze(2), labels.unsqueeze(1))
        assert deep.item() == pytest.approx(flat.item(), rel=1e-6)


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"logits \(2, 3, 4, 4\) and labels \(2, 4, 5\) given"):
        Dice()(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 5, dtype=torch.int64))
    with pytest.raises(ShapeError, match="K >= 2"):
        Dice()(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Focal(-0.1),
        lambda: Focal(math.nan),
        lambda: Focal(math.inf),
        lambda: Tversky(1.0),
        lambda: CrossEntropy(1.0),
        lambda: Loss(()),
        lambda: Loss((Weighted(Dice(), 1.0),)),
        lambda: Loss((Weighted(CrossEntropy()), Weighted(Dice(), -math.inf))),
    ],
)
def test_impossible_terms_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(SpaceError):
        make()
