"""Networks that are only counted against networks of torch's own modules, and shapes against those that torch gives."""

import gc
import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.counted_layers import CountedLayers
from search_spaces.layers import Activation, Layers, Norm
from search_spaces.meta_shapes import shaped
from search_spaces.network import Network
from search_spaces.preset import load_preset
from search_spaces.profile import profile
from search_spaces.space import load_space, sample
from search_spaces.walk import walk


def check(architecture: Architecture, size: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = Network(architecture, 3, 5, len(size))
    parameters = sum(weight.numel() for weight in network.parameters())
    walked = walk(network, (3, *size), stride=network.stride)
    found = profile(architecture, 3, 5, size)
    assert (found.parameters, found.macs) == (parameters, walked.macs)
    assert (found.receptive_field, found.output_stride) == (walked.receptive_field, network.stride)


@pytest.mark.parametrize(
    "name", ["attention_unet", "unetplusplus", "pspnet50", "vnet", "autodeeplab_s", "reversible_unet"]
)
def test_a_counted_system_is_the_built_one(name: str) -> None:
    check(load_preset(name).candidate().architecture, (64, 96))


@pytest.mark.parametrize("seed", range(8))
def test_a_counted_candidate_is_the_built_one(seed: int) -> None:
    check(sample(load_space("everything"), random.Random(seed)).architecture, (32, 64))


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize("activation", ["relu", "prelu"])
def test_layers_have_the_parameters_of_their_twins(norm: Norm, activation: Activation) -> None:
    counted, real = (kind(2, norm, activation) for kind in (CountedLayers, Layers))
    for make in (
        lambda layers: layers.conv_block(8, 16, kernel=3, groups=4),
        lambda layers: layers.transposed(8, 4, kernel=3),
        lambda layers: layers.projection(8, 4),
    ):
        of = [{name: w.shape for name, w in make(layers).named_parameters()} for layers in (counted, real)]
        assert of[0] == of[1]


def test_two_like_layers_are_two_and_a_layer_used_twice_is_one() -> None:
    layers = CountedLayers(2)
    first, second = (layers.conv(4, 4, kernel=3) for _ in range(2))
    assert sum(weight.numel() for weight in nn.Sequential(first, second, first).parameters()) == 2 * 4 * 4 * 9
    first.weight.requires_grad = False
    first.register_forward_hook(lambda *_: None)
    third = layers.conv(4, 4, kernel=3)
    assert second.weight.requires_grad and third.weight.requires_grad
    assert not second._forward_hooks and not third._forward_hooks


def test_the_collector_of_garbage_runs_on_after_a_profile() -> None:
    profile(load_preset("unet").candidate().architecture, 1, 3, (16, 16))
    assert gc.isenabled()


X, W = torch.empty(2, 6, 8, 10, device="meta"), torch.empty(4, 3, 3, 1, device="meta")
CALLS: list[tuple[Callable[..., Tensor], tuple[object, ...], dict[str, object]]] = [
    (torch.add, (X, X[:, :1]), {}),
    (torch.Tensor.mul, (X, 2.0), {}),
    (torch.ge, (X, X[0]), {}),
    (F.interpolate, (X,), {"scale_factor": 2}),
    (F.interpolate, (X, (5, 7)), {"mode": "bilinear"}),
    (torch.conv2d, (X, W, None, (2, 1), (1, 0), (1, 1), 2), {}),
    (torch.conv2d, (X, W), {"stride": 2, "dilation": (3, 1), "groups": 2}),
    (F.pad, (X, [1, 2, 0, -3]), {}),
    (torch.cat, ([X, X[:, :2]], 1), {}),
    (torch.cat, ((X, X),), {"dim": -1}),
    (torch.mean, (X, (2, 3), True), {}),
    (torch.mean, (X,), {"dim": -1, "keepdim": True}),
    (F.linear, (X, torch.empty(3, 10, device="meta")), {}),
]


@pytest.mark.parametrize("case", range(len(CALLS)))
def test_shapes_are_those_of_torch(case: int) -> None:
    function, args, options = CALLS[case]
    expected = function(*args, **options)
    found = shaped(function.__name__, args, options)
    assert found is not None and (found.shape, found.dtype, found.device) == (
        expected.shape,
        expected.dtype,
        expected.device,
    )


def test_what_does_not_fit_is_left_to_torch() -> None:
    assert shaped("cat", ([X, X[0]],), {}) is None
    assert shaped("cat", ([X, X[:, :, :3]],), {"dim": 1}) is None
    assert shaped("conv2d", (X, W), {}) is None
    assert shaped("linear", (X, torch.empty(3, 9, device="meta")), {}) is None
    assert shaped("mean", (X,), {}) is None
    assert shaped("sort", (X,), {}) is None
