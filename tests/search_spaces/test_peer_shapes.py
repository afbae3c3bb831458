"""Shapes that other libraries' networks have, and what is refused; equal logits stand in the integration tests."""

import pytest
import torch
from peer_networks import CELL, TWINS

from search_spaces.codec import canonical
from search_spaces.decoders.nested import NestedDecoder
from search_spaces.encoder import Levels
from search_spaces.encoders.plain import Plain
from search_spaces.encoders.resnet import Resnet
from search_spaces.errors import SpaceError
from search_spaces.network import build_model
from search_spaces.profile import profile
from search_spaces.skips.concat import Concat

# of segmentation_models_pytorch 0.6.0, counted from its modules: ResNet-18, 12 classes
PARAMETERS = {"smp Unet": 14_329_804, "smp UnetPlusPlus": 15_972_044}


@pytest.mark.parametrize("name", TWINS)
def test_each_is_a_network(name: str) -> None:
    network = build_model(TWINS[name].architecture, in_channels=3, num_classes=12, ndim=2, seed=0)
    assert network(torch.randn(2, 3, 64, 64)).shape == (2, 12, 64, 64)
    assert canonical(TWINS[name].architecture) == TWINS[name].architecture


def test_widths_of_nested_nodes() -> None:
    levels = Levels((4, 8, 16), (2, 4, 8))
    own = NestedDecoder(CELL, widths=(3, 5, 7))
    assert own.out_levels(levels, 2) == Levels((3, 5, 4), (1, 2, 2))
    assert NestedDecoder(CELL, widths=(5, 7)).out_levels(levels, 2) == Levels((5, 4), (2, 2))
    for widths, strides in (((5,), (2, 4, 8)), ((3, 5, 7), (1, 2, 4)), ((1, 3, 5, 7), (4, 8, 16))):
        refusal = NestedDecoder(CELL, widths=widths).refusal(Levels((4, 8, 16), strides), Concat())
        assert refusal is not None and "widths" in refusal


def test_fewer_stages_of_a_resnet() -> None:
    assert Resnet(18, stages=2).levels() == Levels((64, 64, 128), (2, 4, 8))
    assert Resnet(50, stages=3).levels().strides == (2, 4, 8, 16)
    assert canonical(Resnet(18, stages=2)) == canonical(Resnet(18, stages=2, output_stride=8))
    with pytest.raises(SpaceError, match="2 to 4 stages"):
        Resnet(18, stages=1)


def test_strides_leave_no_pool() -> None:
    assert not Plain((4, 8), (1, 1), strided=True).pools_max()
    with pytest.raises(SpaceError, match="no max-pooling"):
        Plain((4, 4), (1, 0), strided=True)


def test_parameters() -> None:
    for name, expected in PARAMETERS.items():
        assert profile(TWINS[name].architecture, 3, 12, (64, 64)).parameters == expected
