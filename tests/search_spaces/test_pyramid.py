"""Networks on several sizes of an image."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate, digest, from_json, to_json
from search_spaces.codec import canonical
from search_spaces.errors import SpaceError
from search_spaces.memory import training_bytes
from search_spaces.network import build_model
from search_spaces.preset import load_preset
from search_spaces.profile import profile
from search_spaces.pyramid import ScaleAttention

SMALL = load_preset("small_unet").candidate()


def small(**changes: object) -> Architecture:
    pyramid = ScaleAttention(width=8, **changes)  # type: ignore[arg-type]  # of the fields
    return replace(SMALL.architecture, pyramid=pyramid)


@pytest.mark.parametrize("size", [(40, 33), (24, 20, 17)])
def test_any_size_goes_through_and_each_scale_is_trained(size: tuple[int, ...]) -> None:
    network = build_model(small(weight=0.5), in_channels=1, num_classes=3, ndim=len(size), seed=0)
    found = network.training_logits(torch.zeros(2, 1, *size))
    assert [weight for _, weight in found] == [1.0, 0.5, 0.5, 0.5]
    assert {logits.shape for logits, _ in found} == {(2, 3, *size)}
    sum(logits.sum() for logits, _ in found).backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_equal_weights_mix_the_mean_of_the_scales() -> None:
    network = build_model(small(), in_channels=1, num_classes=3, ndim=2, seed=0).eval()
    for weight in network.mix.parameters():
        nn.init.zeros_(weight)
    x = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    (mixed, _), *scales = network.training_logits(x)
    assert torch.allclose(mixed, torch.stack([logits for logits, _ in scales]).mean(0), atol=1e-5)
    alone = build_model(SMALL.architecture, in_channels=1, num_classes=3, ndim=2).eval()
    alone.load_state_dict({name: value for name, value in network.state_dict().items() if "mix." not in name})
    assert torch.allclose(alone(x), scales[0][0], atol=1e-5)


def test_weights_of_scales_are_all_it_adds() -> None:
    counts = [profile(a, 1, 3, (64, 64)) for a in (SMALL.architecture, small())]
    hidden = 3 * 16 * 8 * 9 + 2 * 8  # three scales of 16 channels to 8, a norm
    assert counts[1].parameters - counts[0].parameters == hidden + 8 * 3 + 3
    ratio = counts[1].macs / counts[0].macs
    assert ratio > 1 + 0.75**2 + 0.5**2 - 0.05  # sizes of 48 and 32 beside 64
    given = {"in_channels": 1, "num_classes": 3, "input_size": (64, 64), "batch": 2}
    # a keyword each
    assert training_bytes(small(), **given) > training_bytes(SMALL.architecture, **given)  # type: ignore[arg-type]


def test_it_is_part_of_a_candidate_and_absent_ones_keep_their_digest() -> None:
    candidate = replace(SMALL, architecture=small(scales=(0.5, 1.0)))
    assert from_json(Candidate, to_json(candidate)) == candidate
    assert digest(candidate) == digest(replace(SMALL, architecture=small(scales=(1.0, 0.5))))
    assert canonical(candidate.architecture).pyramid == ScaleAttention((1.0, 0.5), width=8)
    assert "pyramid" not in to_json(SMALL)["architecture"]


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 1.0), (0.0, 1.0), (1.0, 3.0)])
def test_wrong_scales_are_refused(scales: tuple[float, ...]) -> None:
    with pytest.raises(SpaceError, match="two or more different scales"):
        ScaleAttention(scales)
