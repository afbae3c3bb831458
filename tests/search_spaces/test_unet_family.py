"""Relatives of the U-Net: known parameter counts as changes of one field, and what is special about their parts."""

from dataclasses import replace

import pytest
import torch

from search_spaces.architecture import Architecture, Auxiliary
from search_spaces.cell import chain
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.nested import NestedDecoder
from search_spaces.decoders.unet import UNetDecoder
from search_spaces.encoder import Features, Levels
from search_spaces.encoders.cells import Cells
from search_spaces.heads.conv import ConvHead
from search_spaces.heads.hidden import HiddenHead
from search_spaces.layers import Layers
from search_spaces.network import build_model
from search_spaces.operations.conv import Conv
from search_spaces.operations.recurrent import Recurrent
from search_spaces.preset import load_preset
from search_spaces.profile import profile
from search_spaces.skips.attention_gate import AttentionGate
from search_spaces.skips.concat import Concat

CELL = chain(Conv(3), Conv(3))
UNET = load_preset("unet").candidate().architecture
NESTED = load_preset("unetplusplus").candidate().architecture
ATTENTION = load_preset("attention_unet").candidate().architecture
R2 = load_preset("r2unet").candidate().architecture
SMALL = Cells(CELL, width=32, widest=512, stages=5)
HEADS = tuple(Auxiliary("decoder", level, weight=1.0) for level in (1, 2, 3))

KNOWN: dict[str, tuple[Architecture, tuple[int, int], int]] = {
    "two classes": (UNET, (3, 2), 31_037_698),
    "Keras re-write with a hidden convolution": (
        replace(load_preset("unet_original").candidate().architecture, head=HiddenHead(2)),
        (1, 1),
        31_031_685,
    ),
    "batch norm after biased convolutions": (replace(UNET, conv_bias=True), (3, 1), 31_043_521),
    "nearest upsampling and a convolution": (replace(ATTENTION, skip=Concat()), (3, 1), 34_527_041),
    "R2U-Net with attention": (replace(R2, skip=AttentionGate()), (3, 1), 39_442_925),
    "U-Net of the UNet++ authors": (replace(NESTED, decoder=UNetDecoder(CELL)), (3, 1), 7_760_097),
    "UNet++ with deep supervision": (replace(NESTED, auxiliary=HEADS), (3, 1), 9_042_276),
    "wide U-Net as released": (
        replace(NESTED, encoder=Cells(CELL, 35, 560, 5), decoder=UNetDecoder(CELL)),
        (3, 1),
        9_282_876,
    ),
    "U-Net, interpolated": (
        Architecture(
            SMALL, NoContext(), Concat(), UNetDecoder(CELL, upsample="interpolated"), conv_bias=True
        ),
        (3, 1),
        7_852_545,
    ),
    "U-Net beside the dilated network of Perone et al.": (
        Architecture(
            Cells(CELL, width=64, widest=256, stages=4),
            NoContext(),
            Concat(),
            UNetDecoder(CELL, upsample="interpolated"),
            head=ConvHead(kernel=3),
            conv_bias=True,
        ),
        (1, 1),
        4_837_249,
    ),
    "UNet++, interpolated": (
        Architecture(SMALL, NoContext(), Concat(), NestedDecoder(CELL, "interpolated"), conv_bias=True),
        (3, 1),
        9_163_329,
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_relatives_have_their_known_parameters(name: str) -> None:
    architecture, channels, parameters = KNOWN[name]
    assert profile(architecture, *channels, (32, 32)).parameters == parameters


def test_a_nested_decoder_of_two_levels_is_a_unet_decoder() -> None:
    levels = Levels((4, 8), (1, 2))
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 8, 4, 4, generator=generator)]
    nested = NestedDecoder(CELL).build(Layers(2), levels, Concat(), 2)
    plain = UNetDecoder(CELL).build(Layers(2), levels, Concat(), 2)
    plain.load_state_dict(dict(zip(plain.state_dict(), nested.state_dict().values(), strict=True)))
    torch.testing.assert_close(nested(Features(list(maps), [])), plain(Features(list(maps), [])))


def test_every_node_of_a_nested_decoder_counts() -> None:
    network = build_model(
        replace(NESTED, encoder=Cells(CELL, 8, 32, 4), auxiliary=HEADS[:2]),
        in_channels=1,
        num_classes=2,
        ndim=2,
        seed=0,
    )
    scores = network.training_logits(torch.ones(1, 1, 16, 16))
    torch.stack([score.square().mean() for score, _ in scores]).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert len(scores) == 3


def test_a_gate_weights_places_and_leaves_the_coarse_side_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    fine = torch.randn(2, 4, 6, 6, generator=generator)
    coarse = torch.randn(2, 8, 6, 6, generator=generator)
    y = AttentionGate().build(Layers(2), fine=4, coarse=8)(fine, coarse)
    assert torch.equal(y[:, 4:], coarse)
    weights = y[:, :4] / fine
    torch.testing.assert_close(
        weights, weights[:, :1].expand_as(weights), rtol=1e-3, atol=1e-5
    )  # float32 division
    assert (weights > 0).all() and (weights < 1).all()


def test_recurrence_repeats_with_the_same_weights() -> None:
    once, thrice = (Recurrent(depth=1, steps=steps).build(Layers(2, "none"), 3, 3) for steps in (1, 3))
    assert sum(p.numel() for p in once.parameters()) == sum(p.numel() for p in thrice.parameters())
    x = torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    start, conv = thrice.get_submodule("pointwise")(x), thrice.get_submodule("units.0.conv")
    y = conv(start)
    for _ in range(3):
        y = conv(start + y)
    torch.testing.assert_close(thrice(x), start + y)


def test_a_repeated_stride_changes_channels_only() -> None:
    levels = Levels((4, 6, 8), (1, 2, 2))
    maps = [torch.zeros(1, 4, 8, 8), torch.zeros(1, 6, 4, 4), torch.zeros(1, 8, 4, 4)]
    for upsample in ("transposed", "bilinear", "interpolated", "nearest_conv"):
        decoder = UNetDecoder(CELL, upsample=upsample).build(Layers(2), levels, Concat(), 2)
        assert [tuple(y.shape) for y in decoder(Features(list(maps), []))] == [(1, 4, 8, 8), (1, 6, 4, 4)]


def test_a_jump_between_levels_is_refused() -> None:
    reason = UNetDecoder(CELL).refusal(Levels((4, 8), (1, 4)), Concat())
    assert reason is not None and "doubles the size" in reason


def test_widths_of_its_own_may_climb_beyond_the_encoder() -> None:
    levels = Levels((4, 6, 8), (2, 4, 8))
    decoder = UNetDecoder(CELL, widths=(3, 5, 7))
    assert decoder.out_levels(levels, 2) == Levels((3, 5, 7), (1, 2, 4))
    maps = [torch.zeros(1, c, 16 // s, 16 // s) for c, s in zip(levels.channels, levels.strides, strict=True)]
    for upsample in ("nearest", "transposed"):
        module = replace(decoder, upsample=upsample).build(Layers(2), levels, Concat(), 2)
        assert [tuple(y.shape) for y in module(Features(list(maps), []))] == [
            (1, 3, 16, 16),
            (1, 5, 8, 8),
            (1, 7, 4, 4),
        ]
    assert UNetDecoder(CELL, widths=(3, 5, 7)).refusal(Levels((4, 6, 8), (1, 2, 4)), Concat()) is not None
    assert UNetDecoder(CELL, widths=(3,)).refusal(levels, Concat()) is not None
