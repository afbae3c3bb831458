"""Reversible blocks: the gradients of autograd, less memory, statistics counted once; the known larger network."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.cell import chain
from search_spaces.contexts.cell import CellContext
from search_spaces.decoders.mirror import MirrorDecoder
from search_spaces.decoders.reversible import ReversibleDecoder
from search_spaces.encoder import Levels
from search_spaces.encoders.plain import Plain
from search_spaces.encoders.reversible import Reversible
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, Norm
from search_spaces.memory import training_bytes
from search_spaces.network import build_model
from search_spaces.operations.conv import Conv
from search_spaces.preset import load_preset
from search_spaces.profile import profile
from search_spaces.reversible import ReversibleBlocks, _forwards
from search_spaces.skips.sum import Sum

PAPER = load_preset("reversible_unet").candidate().architecture
TWIN = Architecture(  # the authors' plain network of half the width
    encoder=Plain((30, 60, 120, 240, 480), (2, 2, 2, 2, 1)),
    context=CellContext(chain(Conv(3)), width=240),
    skip=Sum(),
    decoder=MirrorDecoder(upsample="interpolated"),
    norm="group",
    activation="leaky_relu",
)


def test_the_larger_network_has_its_known_parameters() -> None:
    fat = replace(PAPER, encoder=Reversible((60, 120, 240, 360, 480), depth=2))
    assert profile(fat, 4, 3, (32, 32, 32)).parameters == 18_248_403


def test_the_plain_twin_has_its_known_parameters() -> None:
    assert profile(TWIN, 4, 3, (32, 32, 32)).parameters == 12_425_253


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_gradients_are_those_of_autograd(norm: Norm) -> None:
    torch.manual_seed(0)
    blocks = ReversibleBlocks(Layers(2, norm, "silu"), 6, depth=3).double()
    plain = copy.deepcopy(blocks)
    x = torch.randn(2, 6, 7, 7, dtype=torch.float64, requires_grad=True)
    z = x.detach().clone().requires_grad_()
    weight = torch.randn(2, 6, 7, 7, dtype=torch.float64)
    (blocks(x) * weight).sum().backward()
    (_forwards(plain.blocks, z) * weight).sum().backward()
    torch.testing.assert_close(x.grad, z.grad)
    for own, other in zip(blocks.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad)
    for own, other in zip(blocks.buffers(), plain.buffers(), strict=True):  # running statistics, counted once
        torch.testing.assert_close(own, other)


def test_training_keeps_one_map_however_deep() -> None:
    def kept(depth: int, *, reversible: bool) -> int:
        blocks = ReversibleBlocks(Layers(2, "group"), 8, depth=depth)
        own = {weight.untyped_storage().data_ptr() for weight in blocks.parameters()}
        sizes: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        x = torch.randn(1, 8, 16, 16, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            y = blocks(x) if reversible else _forwards(blocks.blocks, x)
        assert y.requires_grad
        return sum(sizes.values())

    one = 4 * 8 * 16 * 16  # bytes of the result in float32
    assert kept(1, reversible=True) == kept(8, reversible=True) == one
    assert kept(8, reversible=False) > 16 * one


def test_a_training_step_needs_less_memory_than_that_of_a_plain_network_of_its_widths() -> None:
    plain = replace(
        TWIN,
        encoder=Plain((60, 120, 240, 480, 960), (2, 2, 2, 2, 1)),
        context=CellContext(chain(Conv(3)), width=480),
    )
    a_volume = [
        training_bytes(network, in_channels=4, num_classes=3, input_size=(32, 32, 32), batch=2)
        - training_bytes(network, in_channels=4, num_classes=3, input_size=(32, 32, 32), batch=1)
        for network in (PAPER, TWIN, plain)
    ]
    assert a_volume[0] < 0.75 * a_volume[1]  # at twice the width of the plain one
    assert a_volume[0] < 0.40 * a_volume[2]  # at the same width


def test_gradients_in_half_precision_are_near_those_in_single() -> None:
    network = build_model(
        replace(PAPER, encoder=Reversible((8, 16), depth=3)), in_channels=1, num_classes=2, ndim=2, seed=0
    )
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    gradients = []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = network(x).float().square().mean()
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    similarity = torch.nn.functional.cosine_similarity(gradients[0], gradients[1], dim=0)
    assert similarity > 0.99  # bfloat16 has three digits


def test_odd_widths_are_refused() -> None:
    with pytest.raises(SpaceError, match="even widths"):
        Reversible((8, 15))
    assert ReversibleDecoder().refusal(Levels((3, 4), (1, 2)), Sum()) is not None
