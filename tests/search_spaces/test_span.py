"""Spaces that systems span: they hold these systems, every point is a network, and reasons are never met."""

import random

import pytest
import torch

from search_spaces.candidate import Candidate, digest
from search_spaces.network import build_model
from search_spaces.preset import load_preset, preset_names
from search_spaces.profile import profile
from search_spaces.space import Choose, decode, encode, load_space, mutate, neighbours, sample
from search_spaces.span import span

SPACES = {
    "unet_family": ("unet", "unetplusplus", "segnet", "r2unet", "cenet", "fc_densenet56"),
    "deeplab_family": ("deeplabv3_resnet50", "deeplabv3plus_resnet101", "pspnet50", "dpc", "hdc_duc"),
    "attention": ("attention_unet", "danet", "pan", "bisenet", "attention_to_scale"),
    "medical_3d": ("vnet", "vnas", "reversible_unet", "fc_resnet", "attention_unet_3d"),
    "everything": tuple(name for name in preset_names() if name != "mask_rcnn"),
}


@pytest.mark.parametrize(("name", "presets"), SPACES.items(), ids=SPACES)
def test_a_space_holds_its_systems(name: str, presets: tuple[str, ...]) -> None:
    space = load_space(name)
    for preset in presets:
        candidate = load_preset(preset).candidate()
        assert digest(decode(space, encode(space, candidate))) == digest(candidate)


@pytest.mark.parametrize("name", SPACES)
def test_every_drawn_point_is_a_network(name: str) -> None:
    space, rng = load_space(name), random.Random(1)
    for _ in range(12):
        candidate = sample(space, rng)
        assert decode(space, encode(space, candidate)) == candidate
        assert profile(candidate.architecture, 1, 3, (32, 48)).parameters > 0


def test_two_systems_give_networks_that_neither_is() -> None:
    def mine(choose: Choose) -> Candidate:
        return span(choose, ("small_unet", "pspnet50"))

    rng = random.Random(0)
    drawn = [sample(mine, rng).architecture for _ in range(200)]
    assert any(one.encoder.kind == "cells" and one.context.kind == "pyramid_pool" for one in drawn)
    assert any(one.encoder.kind == "resnet" and one.decoder.kind == "unet" for one in drawn)
    assert not any(one.decoder.kind == "deepest" and one.skip.kind != "none" for one in drawn)


def test_a_network_that_finds_objects_has_its_own_loss_beside_others() -> None:
    """And neither auxiliary heads nor a pyramid of images, which others have."""
    systems = ("mask_rcnn", "small_unet", "attention_to_scale", "pspnet50")

    def space(choose: Choose) -> Candidate:
        return span(choose, systems)

    points = [sample(space, random.Random(seed)) for seed in range(60)]
    finders = [one for one in points if one.architecture.decoder.finds_objects]
    assert 5 < len(finders) < 55
    for preset in systems:
        candidate = load_preset(preset).candidate()
        assert digest(decode(space, encode(space, candidate))) == digest(candidate)


def test_small_points_train() -> None:
    space, rng, done = load_space("unet_family"), random.Random(3), 0
    while done < 6:
        candidate = sample(space, rng)
        if profile(candidate.architecture, 1, 3, (32, 32)).macs > 3e8:
            continue
        network = build_model(candidate.architecture, in_channels=1, num_classes=3, ndim=2, seed=0)
        x = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
        total = torch.stack([logits.square().mean() for logits, _ in network.training_logits(x)]).sum()
        total.backward()  # type: ignore[no-untyped-call]  # torch has no annotation there
        assert all(torch.isfinite(w.grad).all() for w in network.parameters() if w.grad is not None)
        done += 1


def test_mutation_and_neighbours_stay_in_the_space() -> None:
    space, rng = load_space("everything"), random.Random(2)
    candidate = load_preset("segnet").candidate()
    for _ in range(10):
        candidate = mutate(space, candidate, rng)
        encode(space, candidate)
    near = neighbours(load_space("unet_family"), load_preset("segnet").candidate())
    assert len(near) > 20
    assert len({digest(one) for one in near}) == len(near)
    assert {one.architecture.encoder.kind for one in near} >= {"plain", "cells", "resnet"}
