"""Networks without pooling: every place is seen at full size; the mean reaches everywhere."""

import torch

from search_spaces.codec import canonical
from search_spaces.contexts.deep_aspp import DeepAspp
from search_spaces.encoders.dilated import Dilated
from search_spaces.layers import Layers
from search_spaces.preset import load_preset
from search_spaces.profile import profile


def test_the_encoder_sees_as_far_as_its_rates_say() -> None:
    torch.manual_seed(0)
    encoder = Dilated(width=4, rates=(1, 2)).build(Layers(2, "none", "gelu"), 1)
    x = torch.zeros(1, 1, 31, 31, requires_grad=True)
    encoder(x).maps[-1][0, :, 15, 15].sum().backward()
    assert x.grad is not None
    rows = x.grad[0, 0].abs().sum(1).nonzero()
    assert (int(rows.min()), int(rows.max())) == (15 - 6, 15 + 6)  # 1 + 1 + 2 + 2 pixels on each side


def test_the_mean_over_the_image_is_a_branch_of_its_own() -> None:
    torch.manual_seed(0)
    context = DeepAspp(rates=(2,), width=4).build(Layers(2, "none", "gelu"), 4)
    x = torch.randn(1, 4, 40, 40, requires_grad=True)
    context(x)[0, :, 0, 0].sum().backward()
    assert x.grad is not None and (x.grad[0, :, 39, 39] != 0).all()


def test_rates_have_no_order() -> None:
    assert canonical(DeepAspp(rates=(4, 2), width=4)) == DeepAspp(rates=(2, 4), width=4)


def test_the_preset_sees_the_whole_image() -> None:
    found = profile(load_preset("perone_dilated").candidate().architecture, 1, 1, (32, 32))
    assert found.output_stride == 1 and found.receptive_field == (float("inf"), float("inf"))
