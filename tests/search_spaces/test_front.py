"""What is special about fronts: the formula of local response normalisation, and that "none" leaves no trace."""

import torch

from search_spaces.codec import to_json
from search_spaces.fronts.lrn import ResponseNormalised
from search_spaces.layers import Layers
from search_spaces.preset import load_preset


def test_local_response_normalisation_is_that_of_torch() -> None:
    x = torch.randn(2, 7, 5, 6, generator=torch.Generator().manual_seed(0))
    for neighbours in (1, 3, 5):
        own = ResponseNormalised(neighbours, alpha=0.1).build(Layers(2), 7)(x)
        torch.testing.assert_close(own, torch.nn.LocalResponseNorm(neighbours, alpha=0.1)(x))


def test_no_front_is_not_written() -> None:
    assert "front" not in to_json(load_preset("small_unet").candidate().architecture)
