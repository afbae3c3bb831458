"""CE-Net: the other known number, shared weights of its chains, small features."""

import torch
import torch.nn.functional as F

from search_spaces.contexts.dac_rmp import DacRmp
from search_spaces.heads.transposed import TransposedHead
from search_spaces.layers import Layers
from search_spaces.preset import load_preset
from search_spaces.profile import profile


def test_cenet_has_its_parameters_for_twelve_classes_too() -> None:
    assert profile(load_preset("cenet").candidate().architecture, 3, 12, (64, 64)).parameters == 29_006_272


def test_chains_share_their_convolutions() -> None:
    generator = torch.Generator().manual_seed(0)
    block = DacRmp(pools=(2,)).build(Layers(2), 4)
    x = torch.randn(1, 4, 12, 12, generator=generator)
    a, b, c, p = (block.get_submodule(name) for name in ("atrous.0", "atrous.1", "atrous.2", "pointwise"))
    expected = x + F.relu(a(x)) + F.relu(p(b(x))) + F.relu(p(b(a(x)))) + F.relu(p(c(b(a(x)))))
    y = block(x)
    torch.testing.assert_close(y[:, 1:], expected)
    pooled = F.interpolate(
        block.get_submodule("score")(F.max_pool2d(expected, 2)), size=(12, 12), mode="bilinear"
    )
    torch.testing.assert_close(y[:, :1], pooled)


def test_a_pool_larger_than_the_features_covers_them() -> None:
    y = DacRmp(pools=(6,)).build(Layers(2), 4)(torch.randn(1, 4, 3, 3))
    torch.testing.assert_close(y[:, 0], y[:, 0, :1, :1].expand(1, 3, 3))


def test_a_head_doubles_what_has_a_stride() -> None:
    for stride, size in ((1, 8), (2, 16)):
        y = TransposedHead(width=4).build(Layers(2), 6, 3, stride=stride)(torch.zeros(1, 6, 8, 8))
        assert y.shape == (1, 3, size, size)
