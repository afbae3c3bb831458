"""Receptive fields against those that gradients show, and products against a count by hand."""

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.layers import drop_norms_and_activations
from search_spaces.network import Network, build_model
from search_spaces.preset import load_preset
from search_spaces.profile import profile
from search_spaces.space import load_space, sample
from search_spaces.walk import walk


def measured(architecture: Architecture, size: int) -> int:
    """Rows of the image that move a logit, the most of one column's logits over a whole stride.

    Every weight is made positive and max-pooling a mean, so that nothing cancels and every pixel that may count does.
    """
    network = build_model(architecture, in_channels=1, num_classes=2, ndim=2, seed=0).double()
    drop_norms_and_activations(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    for weight in network.parameters():
        weight.data.abs_().clamp_(min=0.01)
    x = torch.rand(1, 1, size, 2 * network.stride, dtype=torch.double, requires_grad=True)
    logits = network(x)
    most = 0
    for row in range(size // 2, size // 2 + network.stride):
        (gradient,) = torch.autograd.grad(logits[0, :, row, 0].sum(), x, retain_graph=True)
        rows = (gradient[0, 0] != 0).any(dim=1).nonzero().flatten()
        most = max(most, int(rows.max() - rows.min()) + 1)
    return most


def narrow(name: str) -> Architecture:
    architecture = load_preset(name).candidate().architecture
    # fields of the concrete entry
    return replace(architecture, encoder=replace(architecture.encoder, width=1, widest=4))  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["unet", "small_unet"])
def test_receptive_field_of_unets_is_what_gradients_show(name: str) -> None:
    field = profile(narrow(name), 1, 2, (64, 64)).receptive_field
    assert field == (measured(narrow(name), 320),) * 2
    assert profile(narrow(name), 1, 2, (32, 32, 32)).receptive_field == (field[0],) * 3


@pytest.mark.parametrize("seed", [1, 2, 3, 5, 7, 8])
def test_receptive_field_of_drawn_networks_is_what_gradients_show(seed: int) -> None:
    architecture = sample(load_space("compact"), random.Random(seed)).architecture
    if architecture.context.kind == "aspp":
        # fields of the concrete entry
        architecture = replace(architecture, context=replace(architecture.context, image_pool=False))  # type: ignore[call-arg]
    field = profile(architecture, 1, 2, (48, 64)).receptive_field
    assert field == (measured(architecture, 320),) * 2


def test_receptive_field_of_unet_by_hand() -> None:
    """140 pixels at the bottom; 3-convolutions at strides 8 to 1 reach five bottom pixels, 16 apart: 140 + 4 * 16."""
    assert profile(narrow("unet"), 1, 2, (64, 64)).receptive_field == (204, 204)


def test_a_mean_over_the_image_sees_all_of_it() -> None:
    architecture = load_preset("small_deeplabv3plus").candidate().architecture
    numbers = profile(architecture, 1, 3, (64, 64))
    assert numbers.receptive_field == (float("inf"),) * 2
    assert numbers.output_stride == 16


class _Attention(nn.Module):
    stride = 1

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)  # (N, 3, P)
        weights = torch.bmm(flat.transpose(1, 2), flat).softmax(-1)  # (N, P, P)
        return torch.bmm(flat, weights).view_as(x)


def test_products_of_maps_count_and_see_everything() -> None:
    found = walk(_Attention(), (3, 4, 4), stride=1)
    assert found.macs == 2 * 3 * 16 * 16
    assert found.receptive_field == (float("inf"),) * 2


def test_strides_kernels_and_rates_by_hand() -> None:
    layers = nn.Sequential(
        nn.Conv2d(1, 1, 3, stride=2, padding=1), nn.Conv2d(1, 1, (5, 1), padding=(4, 0), dilation=(2, 1))
    )
    assert walk(layers, (1, 16, 16), stride=2).receptive_field == (3 + 8 * 2, 3)


@pytest.mark.parametrize(
    ("padding", "kernel", "field"), [("same", 3, 9), ("same", 4, 13), ("valid", 3, float("inf"))]
)
def test_padding_may_be_a_word(padding: str, kernel: int, field: float) -> None:
    """As in an operation of a user's own; here of rate 4. Where a map shrinks, places are not followed any more."""

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, kernel, padding=padding, dilation=4)

        def forward(self, x: Tensor) -> Tensor:
            given = torch.conv2d(x, self.conv.weight, padding=padding, dilation=4)
            return torch.add(self.conv(x), given)

    found = walk(Words(), (1, 16, 16), stride=1)
    rows = 16 if padding == "same" else 16 - 8
    assert found.macs == 2 * rows**2 * 2 * kernel**2
    assert found.receptive_field == (field, field)


def test_nothing_of_a_network_is_allocated() -> None:
    with torch.device("meta"):
        network = Network(load_preset("unet").candidate().architecture, 3, 21, 2)
    assert walk(network, (3, 4096, 4096), stride=16).macs > 1e13
