"""DenseNet beside torchvision's, and decoders stacked on one another."""

import pytest
import torch
import torchvision
from torch import nn

from search_spaces.cell import chain
from search_spaces.decoders.stacked import StackedDecoder
from search_spaces.encoder import Features, Levels
from search_spaces.encoders.densenet import DenseNet
from search_spaces.layers import Layers
from search_spaces.operations.conv import Conv
from search_spaces.preset import load_preset
from search_spaces.skips.concat import Concat

CELL = chain(Conv(3))


@pytest.mark.parametrize(("depth", "growth"), [(121, 32), (161, 48), (169, 32), (201, 32)])
def test_a_densenet_has_the_parameters_of_torchvisions(depth: int, growth: int) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"densenet{depth}")().features
        own = DenseNet(depth, growth).build(Layers(2), 3)  # type: ignore[arg-type]  # literals from parameters
    assert sum(p.numel() for p in own.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_a_densenet_computes_what_torchvisions_computes() -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.DenseNet(8, (6, 12, 24, 16), 16).features.eval()
    own = DenseNet(121, growth=8).build(Layers(2), 3).eval()
    parts: list[nn.Module] = [own.get_submodule("stem")]
    for place in range(4):
        parts += [own.get_submodule(f"transitions.{place}"), own.get_submodule(f"blocks.{place}")]
    parts.append(own.get_submodule("last"))
    values = iter(theirs.state_dict().values())
    for part in parts:  # in the order of the computation, which is that of theirs
        part.load_state_dict({name: next(values) for name in part.state_dict()})
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(own(x).maps[-1], torch.relu(theirs(x)), rtol=1e-4, atol=1e-5)


def test_units_go_between_strides() -> None:
    levels = Levels((3, 4, 5, 6, 7), (2, 4, 8, 16, 16))
    decoder = StackedDecoder(CELL, width=8, units=3)
    assert decoder.places(levels) == (1, 2, 4)
    assert decoder.out_levels(levels, 2) == Levels((8,) * 6, (4, 8) * 3)


def test_every_unit_takes_in_the_one_before() -> None:
    torch.manual_seed(0)
    levels = Levels((3, 4, 5), (1, 2, 4))
    maps = [
        torch.randn(2, c, 16 // s, 16 // s, requires_grad=True)
        for c, s in zip(levels.channels, levels.strides, strict=True)
    ]
    decoder = StackedDecoder(CELL, width=8, units=3).build(Layers(2), levels, Concat(), 2)
    results = decoder(Features(list(maps), []))
    results[0].square().sum().backward()
    assert all(weight.grad is not None for weight in decoder.parameters())
    assert len(results) == 6


def test_jumps_are_refused() -> None:
    decoder = StackedDecoder(CELL, width=8)
    assert decoder.refusal(Levels((3, 4), (1, 4)), Concat()) is not None
    assert decoder.refusal(Levels((3, 4), (1, 1)), Concat()) is not None


def test_the_weights_of_sdn_are_those_counted_by_hand() -> None:
    def cell(channels: int) -> int:
        return 9 * channels * 256 + 9 * 256 * 256 + 2 * 512

    encoder = 26_472_000  # torchvision's DenseNet-161 without its last layer
    ups = 3 * 2 * (4 * 256 * 256 + 256)
    cells = cell(768 + 256) + cell(384 + 256) + 4 * cell(512)  # on the way up of three units
    downs = 2 * 2 * cell(512)
    heads = 6 * (256 * 21 + 21)
    assert load_preset("sdn").parameters == encoder + 2208 * 256 + 512 + ups + cells + downs + heads
