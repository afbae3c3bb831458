"""What a network takes over from another one: the function where layers only grow, by place where the depth changes."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.cell import Cell, Node, chain
from search_spaces.contexts.aspp import Aspp
from search_spaces.decoders.unet import UNetDecoder
from search_spaces.encoders.cells import Cells
from search_spaces.inherit import Inherited, inherit, origins
from search_spaces.network import Network, build_model
from search_spaces.operations.conv import Conv
from search_spaces.operations.inverted import Inverted
from search_spaces.operations.separable import Separable
from search_spaces.operations.squeeze_excitation import SqueezeExcitation
from search_spaces.preset import load_preset
from search_spaces.skips.concat import Concat
from search_spaces.skips.sum import Sum
from search_spaces.space import load_space, mutate, sample

Change = Callable[[Architecture], Architecture]
PRESET = load_preset("small_unet").candidate().architecture
TWO = chain(Conv(), Conv())


def encoder(width: int = 8, stages: int = 3, cell: Cell = TWO, **more: Any) -> Cells:
    return Cells(cell=cell, width=width, widest=64, stages=stages, **more)


BASE = replace(PRESET, encoder=encoder(), decoder=UNetDecoder(TWO), skip=Concat())


def build(architecture: Architecture, seed: int) -> Network:
    """A network whose norms have seen something."""
    network = build_model(architecture, in_channels=2, num_classes=3, ndim=2, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.normal_(generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(generator=generator)
    return network


def passed_on(parent: Architecture, child: Architecture, seed: int = 0) -> tuple[Network, Network, Inherited]:
    """A parent, and a child that took over what it could."""
    old, new = build(parent, 1), build(child, 2)
    found = inherit(new, child, old.state_dict(), parent, in_channels=2, num_classes=3, ndim=2, seed=seed)
    return old, new, found


def image(seed: int = 0) -> Tensor:
    return torch.randn(2, 2, 32, 32, generator=torch.Generator().manual_seed(seed))


def difference(old: Network, new: Network) -> float:
    """Of the logits, relative to their size, in evaluation and in training."""
    worst = 0.0
    with torch.no_grad():
        for training in (False, True):
            ours, theirs = (network.train(training)(image()) for network in (new, old))
            worst = max(worst, float((ours - theirs).abs().max() / theirs.abs().max()))
    return worst


def test_the_same_architecture_is_copied_whole() -> None:
    old, new, found = passed_on(BASE, BASE)
    assert found == Inherited(copied=len(old.state_dict()), widened=0, fresh=0, share=1.0)
    assert all(torch.equal(tensor, new.state_dict()[name]) for name, tensor in old.state_dict().items())


def wider(architecture: Architecture) -> Architecture:
    assert isinstance(architecture.encoder, Cells)
    return replace(architecture, encoder=replace(architecture.encoder, width=16))


def odd(architecture: Architecture) -> Architecture:
    assert isinstance(architecture.encoder, Cells)
    return replace(architecture, encoder=replace(architecture.encoder, width=13))


def cells(cell: Cell, **more: Any) -> Architecture:
    return replace(BASE, encoder=encoder(cell=cell, **more), decoder=UNetDecoder(chain(Separable())))


RESIDUAL = Cell((Node(Conv(), (0,)), Node(Inverted(), (1,)), Node(Separable(), (0, 2))), residual=True)


@pytest.mark.parametrize(
    "parent",
    [
        BASE,
        replace(BASE, skip=Sum()),
        replace(BASE, norm="none"),
        replace(BASE, norm="instance", activation="prelu"),
        replace(BASE, decoder=UNetDecoder(TWO, upsample="bilinear")),
        replace(BASE, encoder=encoder(stem=2, downsample="conv")),
        replace(BASE, context=Aspp(rates=(1, 2), width=16)),
        cells(RESIDUAL),
        cells(chain(Conv(), SqueezeExcitation())),
    ],
    ids=["concat", "sum", "no norm", "prelu", "bilinear", "strided", "aspp", "cells", "gates"],
)
@pytest.mark.parametrize("change", [wider, odd])
def test_a_wider_network_computes_what_its_parent_does(parent: Architecture, change: Change) -> None:
    old, new, found = passed_on(parent, change(parent))
    assert found.fresh == 0 and found.widened > 0
    assert found.share == 1.0
    assert difference(old, new) < 1e-4


def test_a_wider_context_and_a_larger_kernel_change_nothing_either() -> None:
    small = replace(cells(chain(Separable(kernel=3))), context=Aspp(rates=(2, 4), width=32))
    large = replace(cells(chain(Separable(kernel=5))), context=Aspp(rates=(2, 4), width=48))
    old, new, found = passed_on(small, large)
    assert found.fresh == 0 and found.share < 1.0  # new taps began at zero
    assert difference(old, new) < 1e-4


def test_group_norm_keeps_the_function_where_each_channel_is_copied_as_often() -> None:
    parent = replace(BASE, norm="group")
    assert difference(*passed_on(parent, wider(parent))[:2]) < 1e-4
    assert difference(*passed_on(parent, odd(parent))[:2]) > 1e-2


def test_copies_stand_beside_their_original_and_depend_on_widths_and_seed_alone() -> None:
    assert origins((4,), (2,), seed=0).sources.tolist() == [0, 0, 1, 1]
    assert origins((2, 4), (2, 2), seed=0).sources.tolist() == [0, 1, 2, 2, 3, 3]
    assert origins((2, 2, 2), (2, 2), seed=0).places.tolist() == [0, 1, 2, 3]  # the third part is new
    found = [origins((11,), (8,), seed=seed).sources.tolist() for seed in range(4)]
    assert all(sorted(set(sources)) == list(range(8)) and sources == sorted(sources) for sources in found)
    assert len(set(map(tuple, found))) > 1
    narrow = origins((3,), (8,), seed=0).sources.tolist()
    assert len(set(narrow)) == 3 and narrow == sorted(narrow)


def test_copies_part_in_the_first_step() -> None:
    _, new, _ = passed_on(BASE, wider(BASE))
    first = next(m for m in new.modules() if isinstance(m, nn.Conv2d))
    assert torch.equal(first.weight[0], first.weight[1])
    new(image()).square().mean().backward()
    assert first.weight.grad is not None
    assert not torch.allclose(first.weight.grad[0], first.weight.grad[1], rtol=1e-2)


def test_a_stage_more_leaves_the_others_where_they_are() -> None:
    """The encoder grows at its end, the decoder, deepest level first, at its beginning."""
    old, new, found = passed_on(BASE, replace(BASE, encoder=encoder(stages=4)))
    ours, theirs = new.state_dict(), old.state_dict()
    assert all(
        torch.equal(ours[name], theirs[name]) for name in theirs if name.startswith(("encoder.", "head."))
    )
    for part in ("ups", "cells"):
        for level in (0, 1):
            head = f"decoder.{part}.{level}."
            for name in theirs:
                if name.startswith(head):
                    moved = name.replace(head, f"decoder.{part}.{level + 1}.")
                    assert torch.equal(ours[moved], theirs[name])
    assert found.widened == 0 and found.copied == len(theirs)
    assert found.fresh == len(ours) - len(theirs)


def test_a_narrower_layer_keeps_some_channels_of_each_map() -> None:
    old, new, found = passed_on(wider(BASE), BASE)
    assert found.fresh == 0 and found.share == 1.0
    kept = origins((8,), (16,), seed=0).sources
    first = [next(m for m in network.modules() if isinstance(m, nn.Conv2d)) for network in (new, old)]
    assert torch.equal(first[0].weight, first[1].weight[kept])


def test_the_seed_decides() -> None:
    one, same, other = (passed_on(BASE, odd(BASE), seed)[1].state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_what_has_no_counterpart_keeps_its_own_start() -> None:
    parent = replace(BASE, context=Aspp(rates=(2, 4), width=32))
    child = replace(BASE, encoder=encoder(cell=chain(Inverted(), Inverted())))
    _, new, found = passed_on(parent, child)
    fresh = build(child, 2).state_dict()
    kept = [name for name, tensor in new.state_dict().items() if torch.equal(tensor, fresh[name])]
    assert found.fresh <= len(kept)
    assert any(name.startswith("encoder.") for name in kept)
    assert 0 < found.share < 1


def test_weights_that_another_version_named_otherwise_are_left_out() -> None:
    new, fresh = build(BASE, 2), build(BASE, 2)
    found = inherit(new, BASE, {}, BASE, in_channels=2, num_classes=3, ndim=2)
    assert found == Inherited(0, 0, len(fresh.state_dict()), 0.0)
    assert all(torch.equal(a, b) for a, b in zip(new.parameters(), fresh.parameters(), strict=True))


@pytest.mark.parametrize("name", ["compact", "nas_unet"])
def test_any_mutation_can_inherit(name: str) -> None:
    space, rng = load_space(name), random.Random(5)
    candidate = sample(space, rng)
    for _ in range(4):
        child = mutate(space, candidate, rng)
        _, new, found = passed_on(candidate.architecture, child.architecture)
        assert 0.0 <= found.share <= 1.0
        assert torch.isfinite(new.eval()(image())).all()
        candidate = child
