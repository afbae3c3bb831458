"""Fabrics: weights by hand, and what the finest map of the last layer knows of."""

import torch

from search_spaces.encoders.fabric import Fabric
from search_spaces.layers import Layers
from search_spaces.preset import load_preset
from search_spaces.profile import profile


def test_weights_are_those_of_the_lattice() -> None:
    width, conv = 64, 9 * 64 * 64
    norms = 2 * width * 6
    first = 9 * 3 * width + 5 * conv + norms
    middle = 6 * ((6 + 5 + 5) * conv + norms)
    last = (6 + 5 + 5 + 5) * conv + norms
    head = width * 2 + 2
    preset = load_preset("fabric")
    assert preset.parameters == first + middle + last + head
    assert profile(preset.candidate().architecture, 3, 2, (64, 64)).parameters == preset.parameters


def test_the_finest_map_of_the_last_layer_depends_on_every_weight() -> None:
    torch.manual_seed(0)
    encoder = Fabric(width=4, scales=3, layers=2).build(Layers(2), 1)
    encoder(torch.randn(2, 1, 16, 16)).maps[0].square().sum().backward()
    assert all(
        weight.grad is not None and weight.grad.abs().sum() > 0
        for weight in encoder.parameters()
        if weight.dim() > 1
    )
