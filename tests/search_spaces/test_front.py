"""What is special about fronts: the formula of local response normalisation, and that "none" leaves no trace."""

from dataclasses import replace

import torch

from search_spaces.codec import to_json
from search_spaces.fronts.learned import LearnedNormaliser
from search_spaces.fronts.lrn import ResponseNormalised
from search_spaces.layers import Layers
from search_spaces.network import build_model
from search_spaces.preset import load_preset


def test_local_response_normalisation_is_that_of_torch() -> None:
    x = torch.randn(2, 7, 5, 6, generator=torch.Generator().manual_seed(0))
    for neighbours in (1, 3, 5):
        own = ResponseNormalised(neighbours, alpha=0.1).build(Layers(2), 7)(x)
        torch.testing.assert_close(own, torch.nn.LocalResponseNorm(neighbours, alpha=0.1)(x))


def test_no_front_is_not_written() -> None:
    assert "front" not in to_json(load_preset("small_unet").candidate().architecture)


def test_images_are_padded_to_what_the_front_needs() -> None:
    architecture = replace(
        load_preset("small_unet").candidate().architecture, front=LearnedNormaliser(width=4, depth=5)
    )
    network = build_model(architecture, in_channels=1, num_classes=2, ndim=2, seed=0)
    assert network.stride == 32  # the encoder alone needs 16
    assert network(torch.ones(1, 1, 20, 9)).shape == (1, 2, 20, 9)


def test_a_learned_front_is_trained() -> None:
    front = LearnedNormaliser(width=4, depth=2).build(Layers(2, "instance"), 3)
    y = front(torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    y.square().sum().backward()
    assert all(weight.grad is not None for weight in front.parameters())
