"""Residual attention: the size that the paper gives, and what a mask does."""

import pytest
import torch

from search_spaces.encoders.residual_attention import ResidualAttention, _Attention, _Hourglass
from search_spaces.layers import Layers

CLASSIFIER = 2048 * 1000 + 1000


@pytest.mark.parametrize(("modules", "published"), [((1, 1, 1), 31.9e6), ((1, 2, 3), 51.3e6)])
def test_the_size_is_about_that_of_the_paper(modules: tuple[int, int, int], published: float) -> None:
    with torch.device("meta"):
        encoder = ResidualAttention(64, modules).build(Layers(2), 3)
    number = sum(weight.numel() for weight in encoder.parameters()) + CLASSIFIER
    assert number == pytest.approx(published, rel=0.025)  # the paper rounds and does not say every layer


def test_a_mask_multiplies_the_trunk_by_one_to_two() -> None:
    torch.manual_seed(0)
    module = _Attention(Layers(2, "none"), 8, halvings=2)
    module.first = module.last = torch.nn.Identity()  # type: ignore[assignment]  # other modules in their places
    x = torch.randn(1, 8, 8, 8)
    ratio = module(x) / module.trunk(x)
    assert (ratio > 1).all() and (ratio < 2).all()


def test_an_hourglass_of_odd_size_returns_it() -> None:
    y = _Hourglass(Layers(3), 4, 2)(torch.randn(1, 4, 7, 9, 8))
    assert y.shape == (1, 4, 7, 9, 8)
