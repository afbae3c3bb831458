"""V-Net: the known port as changed fields, and its sums."""

from dataclasses import replace

import pytest
import torch

from search_spaces.decoders.vnet import VNetDecoder
from search_spaces.encoders.vnet import VNetEncoder
from search_spaces.layers import Activation, Layers
from search_spaces.preset import load_preset
from search_spaces.profile import profile

PORT = replace(
    load_preset("vnet").candidate().architecture,
    encoder=VNetEncoder(depths=(1, 2, 3, 2), activate_last=True),
    decoder=VNetDecoder(depths=(1, 1, 2, 2), activate_last=True),
    norm="batch",
    conv_bias=True,
)


@pytest.mark.parametrize(("activation", "parameters"), [("elu", 45_600_316), ("prelu", 45_603_934)])
def test_the_port_has_its_known_parameters(activation: Activation, parameters: int) -> None:
    port = replace(PORT, activation=activation)  # mattmacy/vnet.pytorch
    assert profile(port, 1, 2, (32, 32, 32)).parameters == parameters


def test_the_first_stage_adds_the_repeated_image() -> None:
    encoder = VNetEncoder(width=5).build(Layers(2, "none", "elu"), 2)
    x = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    first = encoder.get_submodule("first")(x)
    repeated = torch.stack([x[:, channel % 2] for channel in range(5)], dim=1)
    torch.testing.assert_close(encoder(x).maps[0], torch.nn.functional.elu(first + repeated))


def test_a_learned_slope_is_one_a_channel() -> None:
    slopes = [
        m
        for m in VNetEncoder().build(Layers(3, "none", "prelu"), 1).modules()
        if isinstance(m, torch.nn.PReLU)
    ]
    assert {m.num_parameters for m in slopes} == {16, 32, 64}
