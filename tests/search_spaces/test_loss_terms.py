"""The contract of every loss term: bounds, finite values and slopes, ignored pixels, precision, needs."""

from dataclasses import replace

import pytest
import torch
from loss_extras import extras
from torch import Tensor

from search_spaces.errors import SpaceError
from search_spaces.loss import ROLES, LossTerm
from search_spaces.register import kinds, lookup
from search_spaces.scores import LossExtras

KINDS = kinds(LossTerm)
NO_NEED = LossExtras()
OF_LOGITS = [kind for kind in KINDS if lookup(LossTerm, kind).of_logits]  # type: ignore[type-abstract]  # entries are concrete
EXTRA_OF = {"prediction_distance": "distances"}  # names of extras that differ from their need


def term_of(kind: str) -> LossTerm:
    return lookup(LossTerm, kind)()  # type: ignore[type-abstract]  # entries are concrete


def batch(ndim: int = 2) -> tuple[Tensor, Tensor]:
    """Random logits; squares of class 1 around squares of class 2, with two ignored pixels."""
    labels = torch.zeros(2, *[7] * ndim, dtype=torch.int64)
    labels[:, 2:6, 1:6] = 1
    labels[0, 3:5, 2:4] = 2
    labels[0, 0, :2] = 255
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, *[7] * ndim, generator=generator), labels


def gradient(term: LossTerm, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    value = term(leaf, labels, extras=extras(labels, logits.shape[1]))
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", OF_LOGITS)
def test_a_term_keeps_its_bounds_and_is_least_at_the_truth(kind: str, ndim: int) -> None:
    term = term_of(kind)
    logits, labels = batch(ndim)
    truth = torch.nn.functional.one_hot(labels.where(labels != 255, 0), 3).movedim(-1, 1).float() - 1 / 3
    given = extras(labels, 3)
    probes = (-20 * truth, 0 * truth, 2 * truth, logits)
    values = [term(probe, labels, extras=given).item() for probe in probes]
    best = term(20 * truth, labels, extras=given).item()
    low, high = term.bounds
    assert all(low - 1e-5 <= value <= high + 1e-5 for value in [*values, best])  # float32 rounding
    assert not term.least_at_truth or best <= min(values) + 1e-5
    assert term.role in ROLES


@pytest.mark.parametrize("kind", OF_LOGITS)
@pytest.mark.parametrize("scale", [1e4, -1e4, 0.0])
@pytest.mark.parametrize("label", [0, 2])
def test_extreme_logits_and_one_class_images_stay_finite(kind: str, scale: float, label: int) -> None:
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 0] = scale
    value, slope = gradient(term_of(kind), logits, torch.full((1, 4, 4), label))
    assert torch.isfinite(value)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("kind", OF_LOGITS)
def test_nothing_valid_is_zero_with_a_graph(kind: str) -> None:
    logits, labels = batch()
    value, slope = gradient(term_of(kind), logits, torch.full_like(labels, 255))
    if term_of(kind).unlabelled:
        assert torch.isfinite(value) and slope.any()
    else:
        assert value.item() == 0
        assert not slope.any()


@pytest.mark.parametrize("kind", OF_LOGITS)
def test_ignored_pixels_change_nothing(kind: str) -> None:
    if kind == "adversarial":
        pytest.skip("the critic sees whole images")
    logits, labels = batch()
    loud = logits.clone()
    loud[0, 1, 0, :2] = 50.0
    first, second = gradient(term_of(kind), logits, labels), gradient(term_of(kind), loud, labels)
    assert torch.equal(first[0], second[0])
    assert not first[1][0, :, 0, :2].any()


@pytest.mark.parametrize("kind", OF_LOGITS)
def test_a_sample_without_labels_counts_only_where_it_teaches(kind: str) -> None:
    """Beside a labelled sample; the value is that of the labelled one alone."""
    term = term_of(kind)
    logits, labels = batch()
    labels[1] = 255
    if term.unlabelled:
        return
    alone = term(logits[:1], labels[:1], extras=extras(labels[:1], 3))
    assert term(logits, labels, extras=extras(labels, 3)).item() == pytest.approx(alone.item(), rel=1e-5)


@pytest.mark.parametrize("kind", OF_LOGITS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(kind: str, dtype: torch.dtype) -> None:
    logits, labels = batch()
    given, half = extras(labels, 3), logits.to(dtype)
    with torch.autocast("cpu", dtype):
        value = term_of(kind)(half, labels, extras=given)
    assert value.dtype == torch.float32
    assert torch.equal(value, term_of(kind)(half.float(), labels, extras=given))


@pytest.mark.parametrize("kind", OF_LOGITS)
def test_the_slope_is_the_one_of_the_value(kind: str) -> None:
    """Along a random direction, against central differences."""
    term = term_of(kind)
    logits, labels = batch()
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    _, slope = gradient(term, logits, labels)
    given, step = extras(labels, 3), 1e-3
    ahead, behind = (term(logits + side * step * direction, labels, extras=given).item() for side in (1, -1))
    expected = (slope * direction).sum().item()
    assert (ahead - behind) / (2 * step) == pytest.approx(expected, rel=1e-2, abs=3e-4)  # float32 differences


@pytest.mark.parametrize("kind", [kind for kind in KINDS if term_of(kind).needs])
def test_what_a_term_needs_is_named_where_it_lacks(kind: str) -> None:
    logits, labels = batch()
    for need in term_of(kind).needs:
        given = replace(extras(labels, 3), **{EXTRA_OF.get(need, need): None})
        with pytest.raises(SpaceError, match=f"needs '{need}'"):
            term_of(kind)(logits, labels, extras=given)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not term_of(kind).needs])
def test_other_terms_need_nothing(kind: str) -> None:
    logits, labels = batch()
    value = term_of(kind)(logits, labels, extras=NO_NEED)
    assert torch.equal(value, term_of(kind)(logits, labels))


@pytest.mark.parametrize("label", [3, 7, -1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_label_of_no_class_is_named(kind: str, label: int) -> None:
    logits, labels = batch()
    given = extras(labels, 3)
    labels[1, 3, 3] = label
    message = f"a label is {label}; whole numbers from 0 to 2, and 255 for ignored pixels, are allowed"
    with pytest.raises(SpaceError, match=message):
        term_of(kind)(logits, labels, extras=given)
