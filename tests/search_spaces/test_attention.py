"""Attention, global convolution, dense upsampling and two paths: against slow and obvious versions, and known numbers."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from search_spaces.attention import ChannelAttention, DualAttention, NonLocal, PositionAttention
from search_spaces.contexts.non_local import NonLocalBlock
from search_spaces.contexts.pyramid_attention import PyramidAttention
from search_spaces.decoders.bisenet import BiSeNetDecoder
from search_spaces.decoders.deepest import Deepest
from search_spaces.decoders.fpn import FpnDecoder
from search_spaces.decoders.global_conv import GlobalConvDecoder
from search_spaces.encoder import Features, Levels
from search_spaces.encoders.resnet import Resnet
from search_spaces.encoders.two_path import TwoPath
from search_spaces.errors import SpaceError
from search_spaces.heads.duc import DucHead
from search_spaces.layers import Layers
from search_spaces.network import build_model
from search_spaces.preset import load_preset
from search_spaces.profile import profile
from search_spaces.skips.concat import Concat
from search_spaces.skips.none import NoSkip
from search_spaces.skips.sum import Sum


def count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_parts_have_the_known_parameters() -> None:
    assert count(NonLocal(Layers(2), 512)) == 525_568  # 4 C C/2 weights, 3 C/2 + C biases
    assert count(PositionAttention(Layers(2), 512)) == 328_321
    assert count(ChannelAttention()) == 1
    body = DualAttention(Layers(2), 2048, 512)
    assert count(body) + 3 * (512 * 19 + 19) == 23_954_619  # with three heads of 19 classes


def test_places_take_from_places_as_their_embeddings_resemble() -> None:
    attention = PositionAttention(Layers(2), 8)
    nn.init.constant_(attention.scale, 0.5)
    x = random(1, 8, 2, 3)
    with torch.no_grad():
        q, k, v = (part(x).flatten(2)[0] for part in (attention.query, attention.key, attention.value))
        expected = x.clone().flatten(2)[0]
        for i in range(6):
            weight = torch.stack([(q[:, i] * k[:, j]).sum() for j in range(6)]).exp()
            expected[:, i] += 0.5 * sum(weight[j] / weight.sum() * v[:, j] for j in range(6))
        assert torch.allclose(attention(x).flatten(2)[0], expected, atol=1e-5)


def test_channels_take_from_channels_that_differ() -> None:
    attention = ChannelAttention()
    nn.init.ones_(attention.scale)
    x = random(1, 3, 2, 2)
    flat = x[0].flatten(1)
    energy = flat @ flat.T
    shares = torch.softmax(energy.amax(1, keepdim=True) - energy, dim=1)  # as the authors' code has it
    assert torch.allclose(attention(x)[0].flatten(1), flat + shares @ flat, atol=1e-5)


def test_a_non_local_block_starts_as_the_identity() -> None:
    small = load_preset("small_unet").candidate().architecture
    network = build_model(
        replace(small, context=NonLocalBlock()), in_channels=1, num_classes=2, ndim=2, seed=0
    )
    x = random(1, 128, 2, 2)
    assert torch.equal(network.context(x), x)


@pytest.mark.parametrize("factor", [2, 8])
def test_dense_upsampling_lays_logits_out_as_a_pixel_shuffle(factor: int) -> None:
    head = DucHead(normalise=False).build(Layers(2), 4, 3, stride=factor)
    x = random(2, 4, 3, 5)
    assert torch.equal(head(x), nn.functional.pixel_shuffle(head.conv(x), factor))


def test_dense_upsampling_of_volumes_keeps_neighbours_together() -> None:
    head = DucHead(normalise=False).build(Layers(3), 1, 1, stride=2)
    nn.init.zeros_(head.conv.weight)
    head.conv.bias.data = torch.arange(8.0)  # channel 4 a + 2 b + c is voxel (a, b, c) of a cell
    cell = head(torch.zeros(1, 1, 1, 1, 1))[0, 0]
    assert torch.equal(cell, torch.arange(8.0).reshape(2, 2, 2))


def test_a_global_convolution_sees_a_square_of_its_kernel() -> None:
    levels = Levels((1, 1), (1, 2))
    decoder = GlobalConvDecoder(kernel=7, finest=1).build(Layers(2), levels, Sum(), 2)
    module = decoder.scores[0][0]
    x = torch.zeros(1, 1, 15, 15)
    x[0, 0, 7, 7] = 1
    reached = (module(x) - module(torch.zeros_like(x))).abs().amax(1)[0] > 0
    assert reached[4:11, 4:11].all() and reached.sum() == 49


def test_decoders_of_scores_come_back_to_full_size() -> None:
    decoder = GlobalConvDecoder()
    assert decoder.out_levels(Resnet(18).levels(), 5) == Levels((5,), (1,))
    assert decoder.out_levels(Levels((4, 4), (3, 6)), 5).strides == (3,)


def test_bisenet_without_auxiliary_heads_has_the_known_parameters() -> None:
    architecture = replace(load_preset("bisenet").candidate().architecture, auxiliary=())
    assert profile(architecture, 3, 19, (64, 64)).parameters == 13_275_539


def test_pan_has_the_parameters_of_another_implementation_but_for_idle_biases() -> None:
    biases = 32 + 32 + 6 + 3 * (32 + 32)  # mean, pointwise, six of the pyramid, two for each of three levels
    assert (
        load_preset("pan").parameters + biases == 24_265_596
    )  # segmentation_models.pytorch 0.6.0, PAN, resnet50


def test_pyramid_attention_weighs_all_channels_alike_or_each() -> None:
    for inner in (1, 8):
        assert PyramidAttention(8, inner).build(Layers(2), 4)(random(2, 4, 9, 2)).shape == (2, 8, 9, 2)
    with pytest.raises(SpaceError, match="1 or the width as inner channels"):
        PyramidAttention(8, 2)


def test_a_shallow_path_replaces_the_fine_levels_of_the_deep_one() -> None:
    assert TwoPath(Resnet(18)).levels() == Levels((128, 256, 512), (8, 16, 32))
    with pytest.raises(SpaceError, match="choose a deeper encoder, or fewer halvings"):
        TwoPath(Resnet(18), halvings=5)


def test_a_decoder_says_which_skips_it_takes() -> None:
    levels = Levels((4, 8, 12), (1, 2, 4))
    assert "choose none" in (Deepest().refusal(levels, Sum()) or "")
    assert "choose sum or none" in (FpnDecoder(8).refusal(levels, Concat()) or "")
    assert "choose feature_fusion or concat" in (BiSeNetDecoder().refusal(levels, NoSkip()) or "")


def test_the_sum_of_a_pyramid_is_that_of_its_levels() -> None:
    levels = Levels((4, 4), (1, 2))
    decoder = FpnDecoder(4, finest=0, smooth=False, merge="sum").build(Layers(2), levels, NoSkip(), 2)
    deep = random(1, 4, 2, 2)
    doubled = nn.functional.interpolate(deep, scale_factor=2, mode="bilinear")
    [total] = decoder(Features([torch.zeros(1, 4, 4, 4), deep], []))
    assert torch.allclose(total, 2 * doubled)


@pytest.mark.parametrize("name", ["refinenet", "global_conv_network"])
def test_decoders_without_norms_start_with_moderate_scores(name: str) -> None:
    architecture = load_preset(name).candidate().architecture
    small = replace(architecture, encoder=Resnet(18, width=8))
    network = build_model(small, in_channels=1, num_classes=3, ndim=2, seed=0)
    with torch.no_grad():
        assert network(random(2, 1, 64, 64)).std() < 5  # He's start alone gives 30,000 and 30
