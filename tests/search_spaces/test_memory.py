"""The estimate of a training step's memory against what autograd keeps in a real one."""

import gc
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.layers import Activation, Norm
from search_spaces.memory import COPIES, Precision, kept_bytes, training_bytes
from search_spaces.network import Network, build_model
from search_spaces.preset import load_preset, preset_names
from search_spaces.profile import profile
from search_spaces.space import load_space, sample

UNET = load_preset("small_unet").candidate().architecture
DEEPLAB = load_preset("small_deeplabv3plus").candidate().architecture


def estimate(architecture: Architecture, size: tuple[int, ...], batch: int) -> int:
    return training_bytes(architecture, in_channels=1, num_classes=3, input_size=size, batch=batch)


def really_kept(
    architecture: Architecture, size: tuple[int, ...], batch: int, precision: Precision = "fp32"
) -> tuple[int, int]:
    """Bytes that a real pass keeps beside the weights, and those of its largest tensor; all weights are zero."""
    with torch.device("meta"):
        network = Network(architecture, 1, 3, len(size))
    network = network.to_empty(device="cpu").train()
    with torch.no_grad():
        for value in (*network.parameters(), *network.buffers()):
            value.zero_()
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        tensor = tensor.detach()  # else graph, hook and what it keeps would hold one another for ever
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            outputs = network.compared(torch.zeros(batch, 1, *size))
        for logits in outputs:
            torch.log_softmax(logits.float(), 1).exp().square().sum()
    sizes = [t.untyped_storage().nbytes() for place, t in kept.items() if place not in weights]
    return sum(sizes), max(sizes)


def check(architecture: Architecture, size: tuple[int, ...], batch: int) -> None:
    kept, largest = really_kept(architecture, size, batch)
    parameters = profile(architecture, 1, 3, size).parameters
    expected = COPIES * 4 * parameters + kept + 2 * largest
    # statistics of norms are kept once, not once an image; below 2 %
    assert estimate(architecture, size, batch) == pytest.approx(expected, rel=0.02)


def check_half(architecture: Architecture, size: tuple[int, ...], batch: int = 2) -> None:
    """Statistics of norms are kept in single precision on a CPU, in half without memory; below 2 %."""
    given: dict[str, Any] = {"in_channels": 1, "num_classes": 3, "input_size": size, "batch": batch}
    kept, _ = really_kept(architecture, size, batch, "bf16")
    assert kept_bytes(architecture, **given, precision="bf16") == pytest.approx(kept, rel=0.02)


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


VOLUMES = ("vnet", "vnas", "attention_unet_3d", "reversible_unet")
LARGE = ("deconvnet", "fcn8s", "fcn16s", "fcn32s", "refinenet", "resnet38", "hdc_duc", "global_conv_network", "sdn",
         "attention_to_scale", "fcn_resnet101", "guided_attention", "pspnet101", "fc_densenet103", "fc_densenet67",
         "autodeeplab_l", "autodeeplab_m", "danet", "dpc")  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in preset_names()],
)
def test_what_a_system_keeps_in_half_precision(name: str) -> None:
    size = (16, 16, 16) if name in VOLUMES else (32, 32)
    check_half(load_preset(name).candidate().architecture, size)


@pytest.mark.parametrize("seed", range(8))
def test_what_drawn_candidates_keep_in_half_precision(seed: int) -> None:
    check_half(sample(load_space("compact"), random.Random(seed)).architecture, (48, 48), batch=6)


def test_copies_of_weights_in_half_precision_are_kept_once_and_not_once_an_image() -> None:
    """3-convolutions and those of the ways between; what grows with the batch is that of the images."""
    given: dict[str, Any] = {"in_channels": 1, "num_classes": 3, "input_size": (64, 64), "precision": "bf16"}
    one, two, four = (kept_bytes(UNET, **given, batch=batch) for batch in (1, 2, 4))
    assert two - one == pytest.approx((four - two) / 2)
    network = build_model(UNET, in_channels=1, num_classes=3, ndim=2, seed=0)
    assert 2 * one - two == sum(2 * weight.numel() for weight in network.parameters() if weight.dim() == 4)


def test_half_precision_needs_less() -> None:
    given: dict[str, Any] = {"in_channels": 1, "num_classes": 3, "input_size": (96, 96), "batch": 8}
    assert training_bytes(UNET, **given, precision="bf16") < 0.7 * training_bytes(UNET, **given)


def test_memory_of_weights_and_of_images_are_apart() -> None:
    one, two, four = (estimate(UNET, (64, 64), batch) for batch in (1, 2, 4))
    assert two - one == pytest.approx((four - two) / 2)
    assert 2 * one - two == COPIES * 4 * profile(UNET, 1, 3, (64, 64)).parameters


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_tensor_of_a_judged_candidate_stays(precision: Precision) -> None:
    """A search judges thousands."""

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(one), Tensor) for one in gc.get_objects())

    before = tensors()
    for batch in (1, 2):
        given: dict[str, Any] = {"in_channels": 1, "num_classes": 3, "batch": batch, "precision": precision}
        assert kept_bytes(UNET, **given, input_size=(80, 112)) > 0
    assert tensors() == before


def test_nothing_is_allocated_and_no_generator_is_used() -> None:
    """A step of this size would take most of a terabyte."""
    before = torch.get_rng_state()
    assert estimate(UNET, (1024, 1024, 64), 64) > 5e11
    assert torch.equal(torch.get_rng_state(), before)
