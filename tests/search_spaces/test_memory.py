"""The estimate of a training step's memory against what autograd keeps in a real one."""

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.layers import Activation, Norm
from search_spaces.memory import COPIES, training_bytes
from search_spaces.network import build_model
from search_spaces.preset import load_preset
from search_spaces.profile import profile
from search_spaces.space import load_space, sample

UNET = load_preset("small_unet").candidate().architecture
DEEPLAB = load_preset("small_deeplabv3plus").candidate().architecture


def estimate(architecture: Architecture, size: tuple[int, ...], batch: int) -> int:
    return training_bytes(architecture, in_channels=1, num_classes=3, input_size=size, batch=batch)


def really_kept(architecture: Architecture, size: tuple[int, ...], batch: int) -> tuple[int, int]:
    """Bytes that a real pass keeps beside the weights, and those of its largest tensor."""
    network = build_model(architecture, in_channels=1, num_classes=3, ndim=len(size), seed=0)
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = network(torch.randn(batch, 1, *size))
        torch.log_softmax(logits, 1).exp().square().sum()
    sizes = [t.untyped_storage().nbytes() for place, t in kept.items() if place not in weights]
    return sum(sizes), max(sizes)


def check(architecture: Architecture, size: tuple[int, ...], batch: int) -> None:
    kept, largest = really_kept(architecture, size, batch)
    parameters = profile(architecture, 1, 3, size).parameters
    expected = COPIES * 4 * parameters + kept + 2 * largest
    # statistics of norms are kept once, not once an image; below 2 %
    assert estimate(architecture, size, batch) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("size", [(64, 64), (16, 24, 16)])
@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_what_is_kept_is_what_a_real_pass_keeps(
    size: tuple[int, ...], norm: Norm, activation: Activation
) -> None:
    check(replace(UNET, norm=norm, activation=activation), size, batch=4)
    check(replace(DEEPLAB, norm=norm, activation=activation), size, batch=4)


@pytest.mark.parametrize("seed", range(6))
def test_drawn_candidates_keep_what_was_estimated(seed: int) -> None:
    check(sample(load_space("compact"), random.Random(seed)).architecture, (48, 48), batch=6)


def test_memory_of_weights_and_of_images_are_apart() -> None:
    one, two, four = (estimate(UNET, (64, 64), batch) for batch in (1, 2, 4))
    assert two - one == pytest.approx((four - two) / 2)
    assert 2 * one - two == COPIES * 4 * profile(UNET, 1, 3, (64, 64)).parameters


def test_nothing_is_allocated_and_no_generator_is_used() -> None:
    """A step of this size would take most of a terabyte."""
    before = torch.get_rng_state()
    assert estimate(UNET, (1024, 1024, 64), 64) > 5e11
    assert torch.equal(torch.get_rng_state(), before)
