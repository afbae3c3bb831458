"""The two orders in which the Lovász extension is computed: all rows in one sort, as a card does it, or row by row."""

import pytest
import torch
from torch import Tensor

from search_spaces.lovasz import _Lovasz

CLASSES, PIXELS = 5, 63


def slow_value(errors: Tensor, foreground: Tensor) -> float:
    """Algorithm 1 of the paper: errors, largest first, times the growth of the Jaccard loss of the set up to there."""
    order = errors.argsort(descending=True)
    value, before, total = 0.0, 0.0, int(foreground.sum())
    for count in range(1, len(order) + 1):
        wrong = foreground[order[:count]]
        missed, alarms = int(wrong.sum()), int((~wrong).sum())
        jaccard = 1 - (total - missed) / (total + alarms)
        value += float(errors[order[count - 1]]) * (jaccard - before)
        before = jaccard
    return value


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("hinge", [False, True])
def test_one_sort_of_all_rows_gives_what_row_by_row_gives(
    hinge: bool, per_sample: bool, masked: bool, first: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn(3, CLASSES, PIXELS, generator=generator)
    labels = torch.randint(0, CLASSES - 1, (3, PIXELS), generator=generator)  # the last class is absent
    labels[2] = 0
    valid = torch.rand(3, PIXELS, generator=generator) > 0.3 if masked else None
    margins = scores if hinge else scores.softmax(1)
    weights = torch.rand(3 if per_sample else 1, CLASSES - first, generator=generator)
    found = []
    for together in (False, True):
        leaf = margins.clone().requires_grad_()
        losses = _Lovasz.apply(leaf, labels, valid, hinge, per_sample, first, together)
        found.append((losses.detach(), *torch.autograd.grad((weights * losses).sum(), leaf)))
    for alone, at_once in zip(*found, strict=True):
        torch.testing.assert_close(at_once, alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("together", [False, True])
def test_each_row_has_the_value_of_the_papers_algorithm(together: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    probs = torch.randn(2, 3, 20, generator=generator).softmax(1)
    labels = torch.randint(0, 3, (2, 20), generator=generator)
    losses = _Lovasz.apply(probs, labels, None, False, True, 0, together)
    for sample in range(2):
        for c in range(3):
            foreground = labels[sample] == c
            errors = (foreground.float() - probs[sample, c]).abs()
            assert losses[sample, c] == pytest.approx(slow_value(errors, foreground), abs=1e-6)
