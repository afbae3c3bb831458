"""What is special about operations of cells: weights counted by hand, and what they may see."""

import pytest
import torch

from search_spaces.errors import ShapeError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.operations.bottleneck import Bottleneck
from search_spaces.operations.dense import DenseOperation
from search_spaces.operations.factorised import Factorised
from search_spaces.operations.grouped import Grouped
from search_spaces.operations.residual import Residual
from search_spaces.operations.reversible import ReversibleOperation
from search_spaces.operations.squeeze_excitation import SqueezeExcitation

# by hand, without norms (biases instead): 8 channels to 8 in two dimensions
WEIGHTS: dict[Operation, int] = {
    Grouped(3, groups=4): 9 * 2 * 8 + 8 + 8 * 8 + 8,
    Factorised(5): 2 * (5 * 8 * 8 + 8),
    Residual(): 2 * (9 * 8 * 8 + 8),
    Bottleneck(4): 8 * 2 + 2 + 9 * 2 * 2 + 2 + 2 * 8 + 8,
    DenseOperation(depth=2, growth=3): 9 * 8 * 3 + 3 + 9 * 11 * 3 + 3 + 14 * 8 + 8,
    ReversibleOperation(depth=3): 3 * 2 * (9 * 4 * 4 + 4),
    SqueezeExcitation(4): 2 * 8 * 2,
}


@pytest.mark.parametrize("operation", WEIGHTS, ids=lambda operation: operation.kind)
def test_weights_are_those_counted_by_hand(operation: Operation) -> None:
    module = operation.build(Layers(2, "none"), 8, 8)
    assert sum(weight.numel() for weight in module.parameters()) == WEIGHTS[operation]


def test_squeeze_excitation_has_the_weights_of_the_paper() -> None:
    for bias, number in ((False, 32_768), (True, 33_312)):
        module = SqueezeExcitation(bias=bias).build(Layers(2), 512, 512)
        assert sum(weight.numel() for weight in module.parameters()) == number


def test_squeeze_excitation_scales_whole_channels() -> None:
    x = torch.rand(2, 8, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.5
    scale = SqueezeExcitation(2).build(Layers(2), 8, 8)(x) / x
    torch.testing.assert_close(scale, scale[..., :1, :1].expand_as(scale))
    assert (scale > 0).all() and (scale < 1).all()


def test_a_factorised_convolution_sees_a_square() -> None:
    module = Factorised(5).build(Layers(2, "none", "gelu"), 1, 1)
    x = torch.zeros(1, 1, 9, 9, requires_grad=True)
    module(x)[0, 0, 4, 4].backward()
    assert x.grad is not None
    seen = (x.grad[0, 0] != 0).nonzero()
    assert seen.min(0).values.tolist() == [2, 2] and seen.max(0).values.tolist() == [6, 6]


def test_reversible_blocks_refuse_odd_channels() -> None:
    with pytest.raises(ShapeError, match="can be halved"):
        ReversibleOperation().build(Layers(2), 8, 7)
