"""Loss terms on a card give what they give on cores. Run by hand: pytest -m gpu tests/search_spaces/test_loss_cuda.py."""

from dataclasses import replace

import pytest
import torch
from loss_extras import extras

from search_spaces.loss import LossTerm
from search_spaces.register import kinds, lookup
from workers.distance_maps import prediction_maps

# entries are concrete
KINDS = [kind for kind in kinds(LossTerm) if lookup(LossTerm, kind).of_logits]  # type: ignore[type-abstract]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_card_gives_the_value_and_the_slope_of_cores(kind: str, ndim: int, ignored: bool) -> None:
    term = lookup(LossTerm, kind)()  # type: ignore[type-abstract]  # entries are concrete
    labels = torch.zeros(2, *[8] * ndim, dtype=torch.int64)
    labels[:, 2:6, 1:6] = 1
    labels[0, 3:5, 2:4] = 2
    if ignored:
        labels[0, 0, :2] = 255
    logits = torch.randn(2, 3, *[8] * ndim, generator=torch.Generator().manual_seed(0))
    given = extras(labels, 3)
    results = []
    for device in ("cpu", "cuda"):
        leaf = logits.to(device).requires_grad_()
        known = replace(given.to(device), distances=prediction_maps((1.0,) * ndim))
        value = term(leaf, labels.to(device), extras=known)
        value.backward()
        assert leaf.grad is not None
        results.append((value.detach().cpu(), leaf.grad.cpu()))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-4, atol=1e-6)  # another order of sums
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_repeats_a_slope(kind: str) -> None:
    term = lookup(LossTerm, kind)()  # type: ignore[type-abstract]  # entries are concrete
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2, 12, 12), generator=generator)
    given = replace(extras(labels, 3).to("cuda"), distances=prediction_maps((1.0, 1.0)))
    slopes = []
    for _ in range(3):
        leaf = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1)).cuda().requires_grad_()
        term(leaf, labels.cuda(), extras=given).backward()
        slopes.append(leaf.grad)
    assert all(torch.equal(slope, slopes[0]) for slope in slopes)  # type: ignore[arg-type]  # it has one after backward
