"""Zero-cost scores: the contract of every one, then what each paper's formula implies."""

import math
import random
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.errors import UnknownKindError
from search_spaces.layers import Activation, Norm
from search_spaces.network import build_model
from search_spaces.preset import load_preset, preset_candidates
from search_spaces.profile import profile
from search_spaces.register import kinds
from search_spaces.space import load_space, sample
from search_spaces.zero_cost import ZeroCost, noise, score_of, zero_cost
from search_spaces.zero_costs.jacob_cov import OFFSET, eigenvalue_score
from search_spaces.zero_costs.naswot import agreement, log_determinant
from search_spaces.zero_costs.synflow import flow

COMPACT = load_space("compact")
PRESETS = dict(preset_candidates(COMPACT))
UNET = PRESETS["small_unet"].architecture
ALL = kinds(ZeroCost)
PUBLISHED = ("jacob_cov", "naswot", "synflow")
SECONDS = 0.5  # of a core, which a score may take at 64x64


def built(architecture: Architecture = UNET, *, seed: int = 0, ndim: int = 2) -> nn.Module:
    return build_model(architecture, in_channels=1, num_classes=3, ndim=ndim, seed=seed)


class Constant(nn.Module):
    """Answers every image alike: no score should like it."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.head = nn.Conv2d(1, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(0.0 * x))


def test_the_scores_are_those_that_are_documented() -> None:
    assert ALL == ("jacob_cov", "macs", "naswot", "parameters", "synflow")


@pytest.mark.parametrize("kind", ALL)
def test_a_score_repeats_and_depends_on_the_network_and_batch_alone(kind: str) -> None:
    first = zero_cost(kind, built(), noise(1, (32, 32)))
    torch.manual_seed(99)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    assert zero_cost(kind, built(), noise(1, (32, 32))) == first
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert score_of(kind, UNET, in_channels=1, num_classes=3, input_size=(32, 32)) == first
    other = zero_cost(kind, built(seed=1), noise(1, (32, 32), seed=1))
    assert (other == first) == (kind in ("macs", "parameters"))


def test_another_process_gives_the_same_numbers() -> None:
    code = (
        "from search_spaces.zero_cost import score_of; from search_spaces.preset import load_preset;"
        "a = load_preset('small_unet').candidate().architecture;"
        f"print([score_of(k, a, in_channels=1, num_classes=3, input_size=(32, 32)) for k in {ALL!r}])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    own = [score_of(kind, UNET, in_channels=1, num_classes=3, input_size=(32, 32)) for kind in ALL]
    assert found.strip() == str(own)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ALL)
def test_a_score_leaves_the_network_and_the_generator_as_they_were(kind: str, training: bool) -> None:
    network, images = built().train(training), noise(1, (16, 16))
    network.head.bias.grad = torch.ones(3)  # type: ignore[union-attr]  # its head has a bias
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    modules, before, generator = list(network.modules()), images.clone(), torch.get_rng_state()
    with torch.no_grad():
        zero_cost(kind, network, images)
        assert not torch.is_grad_enabled()
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
    assert [name for name, weight in network.named_parameters() if weight.grad is not None] == ["head.bias"]
    assert all(module.training is training and not module._forward_pre_hooks for module in modules)
    assert list(network.modules()) == modules
    assert torch.equal(images, before) and not images.requires_grad
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("kind", ALL)
def test_presets_of_compact_have_finite_scores_in_two_and_three_dimensions(kind: str) -> None:
    for candidate in PRESETS.values():
        for size in ((64, 64), (16, 16, 16), (20, 17)):
            value = score_of(kind, candidate.architecture, in_channels=1, num_classes=3, input_size=size)
            assert math.isfinite(value), (candidate, size)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_drawn_candidates_have_finite_scores(kind: str) -> None:
    rng = random.Random(5)
    for _ in range(12):
        architecture = sample(COMPACT, rng).architecture
        value = score_of(kind, architecture, in_channels=2, num_classes=4, input_size=(32, 32))
        assert math.isfinite(value), architecture


@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "silu"])
@pytest.mark.parametrize("kind", PUBLISHED)
def test_every_norm_and_activation_has_a_finite_score(kind: str, norm: Norm, activation: Activation) -> None:
    architecture = replace(UNET, norm=norm, activation=activation)
    assert math.isfinite(score_of(kind, architecture, in_channels=1, num_classes=3, input_size=(16, 16)))


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_network_that_answers_all_images_alike_scores_lowest(kind: str) -> None:
    value = zero_cost(kind, Constant(), noise(1, (8, 8)))
    if kind == "synflow":  # an image of ones flows nowhere
        assert value == -math.inf
    rng = random.Random(7)
    for _ in range(5):
        architecture = sample(COMPACT, rng).architecture
        assert value < score_of(kind, architecture, in_channels=1, num_classes=3, input_size=(16, 16))


@pytest.mark.parametrize("kind", ALL)
def test_a_score_of_a_preset_takes_less_than_half_a_second(kind: str) -> None:
    for candidate in PRESETS.values():
        network, images = built(candidate.architecture), noise(1, (64, 64))
        took = []
        for _ in range(3):  # the first pays for what torch prepares, and others on the machine stretch any
            begun = time.process_time()
            zero_cost(kind, network, images)
            took.append(time.process_time() - begun)
        assert min(took) < SECONDS, took


@pytest.mark.parametrize(
    ("size", "count"),
    [((64, 64), 16), ((64, 64, 64), 16), ((1024, 1024), 4), ((96, 96, 96), 4), ((80, 80, 80), 8)],
)
def test_a_batch_of_large_images_is_smaller(size: tuple[int, ...], count: int) -> None:
    images = noise(2, size)
    assert images.shape == (count, 2, *size)
    assert abs(images.mean().item()) < 0.01 and abs(images.std().item() - 1) < 0.01


def test_an_unknown_score_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownKindError, match=r"unknown zero-cost score 'naswop'; did you mean 'naswot'"):
        score_of("naswop", UNET, in_channels=1, num_classes=3, input_size=(16, 16))


def test_baselines_are_what_the_profile_counts() -> None:
    for candidate in PRESETS.values():
        for size in ((64, 64), (16, 16, 16)):
            counted = profile(candidate.architecture, 1, 3, size)
            for kind, value in (("parameters", counted.parameters), ("macs", counted.macs)):
                found = score_of(kind, candidate.architecture, in_channels=1, num_classes=3, input_size=size)
                assert found == value


def test_flow_is_kept_from_layer_to_layer_of_a_chain() -> None:
    """Theorem 2: in a chain every layer's sum is R, by hand here: the product of absolute weights, summed."""
    chain = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU(inplace=True),
        nn.Conv2d(3, 4, 1, bias=True), nn.SiLU(), nn.ConvTranspose2d(4, 2, 2, 2),
    )  # fmt: skip
    ones = torch.ones(1, 2, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        x = nn.functional.conv2d(ones, chain[0].weight.abs().double(), padding=1)
        x = nn.functional.conv2d(x, chain[3].weight.abs().double())
        total = nn.functional.conv_transpose2d(x, chain[5].weight.abs().double(), stride=2).sum().item()
    assert zero_cost("synflow", chain, noise(2, (6, 6))) == pytest.approx(math.log(3 * total))
    found = flow(chain, noise(2, (6, 6)))
    weights = {name: value for name, value in found.items() if name.endswith("weight")}
    assert weights == pytest.approx({"0.weight": total, "3.weight": total, "5.weight": total})
    assert all(value == 0 for name, value in found.items() if name.endswith("bias"))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_flow_of_a_preset_is_positive_and_all_of_it_leaves_by_the_head(name: str, ndim: int) -> None:
    """Whatever the paths inside, the head's weights cut them all, so their sum is R, the sum of the outputs."""
    network = built(PRESETS[name].architecture, ndim=ndim)
    found = flow(network, noise(1, (16,) * ndim))
    assert all(value > 0 for name, value in found.items() if name.endswith("weight"))
    with torch.no_grad():  # ``flow`` left absolute weights in float64 and no norms
        total = network(torch.ones(1, 1, *(16,) * ndim, dtype=torch.float64)).sum().item()
    assert found["head.weight"] == pytest.approx(total)


def test_flow_does_not_see_the_norm_or_the_signs_of_weights() -> None:
    """Norms are left out, so all three score alike; and only absolute weights count."""
    values = {
        score_of(
            "synflow", replace(UNET, norm=norm, activation=activation),
            in_channels=1, num_classes=3, input_size=(16, 16),
        )
        for norm in ("batch", "instance", "group") for activation in ("relu", "silu")
    }  # fmt: skip
    assert len(values) == 1
    network = built()
    with torch.no_grad():
        for weight in network.parameters():
            weight.neg_()
    assert zero_cost("synflow", network, noise(1, (16, 16))) in values


def test_agreement_is_units_less_hamming_distance() -> None:
    codes = torch.tensor([[1, 0, 1, 1], [1, 1, 1, 0], [0, 1, 0, 0]]).bool()
    expected = torch.tensor([[4, 2, 0], [2, 4, 2], [0, 2, 4]], dtype=torch.float64)
    assert torch.equal(agreement(codes), expected)
    assert log_determinant(agreement(codes)) == pytest.approx(math.log(4 * 12 - 2 * 8))  # Sarrus


def test_naswot_is_the_higher_the_more_codes_differ() -> None:
    units = 1000
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(units, generator=generator) > 0.5
    values = []
    for flipped in (0.0, 0.02, 0.1, 0.3, 0.5):
        flips = torch.rand(8, units, generator=generator) < flipped
        values.append(log_determinant(agreement(base ^ flips)))
    assert values[0] == -math.inf
    assert values == sorted(values) and len(set(values)) == len(values)


def test_naswot_counts_the_units_of_all_activations() -> None:
    """Two layers of one and two channels on 4x4, leaky ReLU and SiLU in place: 16 + 32 bits; signs worked out by hand."""
    net = nn.Sequential(
        nn.LeakyReLU(0.01, inplace=True), nn.Conv2d(1, 2, 1, bias=False), nn.SiLU(inplace=True)
    )
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
    images = noise(1, (4, 4))[:3]
    plus = images.flatten(1) > 0
    codes = torch.cat([plus, plus, ~plus], dim=1)  # leaky ReLU keeps signs
    assert zero_cost("naswot", net, images) == pytest.approx(log_determinant(agreement(codes)))


def test_jacobian_score_of_eigenvalues_by_hand() -> None:
    """Uncorrelated rows have eigenvalues of one, equal rows one of N and the rest zero."""
    apart = torch.tensor([[1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float64)
    one = 1.0 + OFFSET
    assert eigenvalue_score(apart) == pytest.approx(-3 * (math.log(one) + 1 / one))
    alike = apart[:1].repeat(3, 1)
    three = 3.0 + OFFSET
    expected = -(math.log(three) + 1 / three) - 2 * (math.log(OFFSET) + 1 / OFFSET)
    assert eigenvalue_score(alike) == pytest.approx(expected)
    assert eigenvalue_score(torch.ones(3, 4, dtype=torch.float64)) == -math.inf


def test_a_linear_network_has_the_lowest_jacobian_score() -> None:
    """Its gradient is the same at every image."""
    linear = nn.Conv2d(1, 3, 3, padding=1)
    assert (
        zero_cost("jacob_cov", linear, noise(1, (8, 8)))
        < -1e5
        < zero_cost("jacob_cov", built(), noise(1, (8, 8)))
    )


def test_a_large_network_still_has_a_number() -> None:
    """Sums of 31 million parameters' flow are beyond float32."""
    architecture = load_preset("unet").candidate().architecture
    value = score_of("synflow", architecture, in_channels=1, num_classes=2, input_size=(32, 32))
    assert math.isfinite(value) and value > 60
