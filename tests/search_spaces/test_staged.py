"""Stages of chosen operations, planar convolutions and the lite reduced atrous pyramid."""

import pytest
import torch
from torch import nn
from torchvision.models.segmentation.lraspp import LRASPPHead

from search_spaces.decoders.lraspp import LrAsppDecoder
from search_spaces.encoder import Features, Levels
from search_spaces.encoders.staged import Stage, Staged
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operations.conv import Conv
from search_spaces.operations.inverted import Inverted
from search_spaces.operations.planar import Planar
from search_spaces.preset import load_preset
from search_spaces.profile import profile
from search_spaces.skips.sum import Sum


def count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_levels_are_the_last_maps_of_their_strides() -> None:
    plan = (Stage(8, (Conv(3),)), Stage(12, (Conv(3),), halves=False), Stage(16, (Conv(3), Conv(3))))
    encoder = Staged(plan, stem=4, last=20)
    assert encoder.levels() == Levels((4, 12, 20), (2, 4, 8))
    maps = encoder.build(Layers(2), 1)(torch.zeros(2, 1, 16, 24)).maps
    assert [tuple(x.shape[1:]) for x in maps] == [(4, 8, 12), (12, 4, 6), (20, 2, 3)]


def test_stages_that_halve_nothing_are_refused() -> None:
    with pytest.raises(SpaceError, match="at least one stage that halves the size"):
        Staged((Stage(8, (Conv(3),), halves=False),))


@pytest.mark.parametrize(("way", "weights"), [("plane", 9), ("volume", 27), ("factorised", 12)])
def test_a_planar_convolution_has_the_weights_of_its_kernels(way: str, weights: int) -> None:
    operation = Planar(way)  # type: ignore[arg-type]  # of the allowed ones
    assert count(operation.build(Layers(3, norm="none"), 1, 1)) == weights + (2 if way == "factorised" else 1)
    x = torch.randn(1, 1, 5, 5, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    module = nn.Sequential(
        *[m for m in operation.build(Layers(3, norm="none"), 1, 1).modules() if isinstance(m, nn.Conv3d)]
    )
    module(x)[0, 0, 2, 2, 2].backward()
    assert x.grad is not None
    assert (x.grad != 0).sum() == (9 if way == "plane" else 27)


def test_groups_of_an_inverted_block_halve_its_pointwise_weights() -> None:
    one, two = (count(Inverted(3, 2, groups=groups).build(Layers(2), 8, 8)) for groups in (1, 2))
    assert one - two == (8 * 16 + 16 * 8) // 2


def test_scores_of_two_levels_are_added() -> None:
    module = LrAsppDecoder(4).build(Layers(2), Levels((3, 6), (4, 8)), Sum(), 2)
    nn.init.zeros_(module.deep_scores.weight)
    fine = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    [scores] = module(Features([fine, torch.zeros(2, 6, 4, 4)], []))
    assert torch.allclose(scores, module.fine_scores(fine) + module.deep_scores.bias.view(1, 2, 1, 1))


def test_scores_are_those_of_torchvisions_head_with_its_weights() -> None:
    theirs = LRASPPHead(low_channels=6, high_channels=10, num_classes=3, inter_channels=8).eval()
    ours = LrAsppDecoder(8).build(Layers(2), Levels((6, 10), (8, 16)), Sum(), 3).eval()
    nn.init.zeros_(ours.gate.bias)  # which torchvision does not have
    ours.reduce.load_state_dict(theirs.cbr.state_dict())
    ours.gate.weight.data = theirs.scale[1].weight.data
    ours.fine_scores.load_state_dict(theirs.low_classifier.state_dict())
    ours.deep_scores.load_state_dict(theirs.high_classifier.state_dict())
    generator = torch.Generator().manual_seed(0)
    fine, deep = torch.randn(2, 6, 8, 8, generator=generator), torch.randn(2, 10, 4, 4, generator=generator)
    [scores] = ours(Features([fine, deep], []))
    assert torch.allclose(scores, theirs({"low": fine, "high": deep}), atol=1e-5)


def test_squeezenas_takes_about_the_published_multiplications() -> None:
    architecture = load_preset("squeezenas").candidate().architecture
    macs = profile(architecture, 3, 19, (1024, 2048)).macs
    assert (
        0.85 < macs / 3.01e9 < 1
    )  # its README; first expansions of a stage see a quarter of the pixels here
