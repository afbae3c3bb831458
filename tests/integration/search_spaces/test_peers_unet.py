"""U-Nets and V-Net of other libraries, with their weights: equal logits. Left out where a library is not installed.

Their attention network and the other networks of segmentation_models stand in ``test_peers_smp.py``.
"""

from dataclasses import replace

import pytest
import torch
from copied_weights import Weights, assert_equal, random_norms, take
from torch import Tensor, nn

from search_spaces.architecture import Architecture, Auxiliary
from search_spaces.cell import chain
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.nested import NestedDecoder
from search_spaces.decoders.unet import UNetDecoder
from search_spaces.decoders.vnet import VNetDecoder
from search_spaces.encoders.plain import Plain
from search_spaces.encoders.resnet import Resnet
from search_spaces.encoders.vnet import VNetEncoder
from search_spaces.heads.conv import ConvHead
from search_spaces.network import Network, build_model
from search_spaces.operations.conv import Conv
from search_spaces.preset import load_preset
from search_spaces.skips.concat import Concat

CELL = chain(Conv(3), Conv(3))
BASIC = Architecture(
    encoder=Plain((32, 32, 64, 128, 256), (2, 2, 2, 2, 2)),
    context=NoContext(),
    skip=Concat(),
    decoder=UNetDecoder(CELL),
    norm="instance",
    activation="leaky_relu",
    conv_bias=True,
)
SLOPE = {"negative_slope": 0.01}  # that of Layers.activate; MONAI's own is 0.1


@pytest.mark.parametrize("ndim", [2, 3])
def test_basic_unet_of_monai(ndim: int) -> None:
    nets = pytest.importorskip("monai.networks.nets")
    theirs = nets.BasicUNet(spatial_dims=ndim, in_channels=2, out_channels=3, act=("leakyrelu", SLOPE))
    own = build_model(BASIC, in_channels=2, num_classes=3, ndim=ndim)
    random_norms(theirs)
    take(own, by_parts(own, theirs))
    assert_equal(own, theirs, torch.randn(1, 2, *[32] * ndim))


def by_parts(own: Network, theirs: nn.Module) -> Weights:
    """Weights of MONAI's U-Net in the order of ours: encoder, upsamplings, cells, head."""
    parts = [child for name, child in theirs.named_children() if not name.startswith("upcat")]
    ups = [child for name, child in theirs.named_children() if name.startswith("upcat")]
    ordered = [*parts[:-1], *(up.upsample for up in ups), *(up.convs for up in ups), parts[-1]]
    return [item for part in ordered for item in part.state_dict().items()]


def test_basic_unetplusplus_of_monai() -> None:
    nets = pytest.importorskip("monai.networks.nets")
    theirs = nets.BasicUNetPlusPlus(
        spatial_dims=2, in_channels=1, out_channels=2, act=("leakyrelu", SLOPE), deep_supervision=True
    )
    architecture = replace(
        BASIC,
        decoder=NestedDecoder(CELL),
        auxiliary=tuple(Auxiliary("decoder", level) for level in (3, 2, 1)),
    )
    own = build_model(architecture, in_channels=1, num_classes=2, ndim=2)
    random_norms(theirs)
    items = list(theirs.state_dict().items())
    last, heads = items[-2:], items[-8:-2]  # ours has the head before the auxiliary ones
    take(own, [*items[:-8], *last, *heads])
    own.eval()
    theirs.eval()
    x = torch.randn(1, 1, 32, 48)
    with torch.no_grad():
        ours, expected = [logits for logits, _ in own.training_logits(x)], theirs(x)
    for logits, truth in zip([*ours[1:], ours[0]], expected, strict=True):
        assert (logits - truth).abs().max() < 1e-5 * max(float(truth.abs().max()), 1.0)


def test_vnet_of_monai() -> None:
    """The sides of a skip are joined in the other order there, so channels of the way up are exchanged.

    Convolutions on the way up have no bias there, which batch normalisation takes away here.
    """
    nets = pytest.importorskip("monai.networks.nets")
    theirs = nets.VNet(in_channels=1, out_channels=2, act="elu", bias=True)
    architecture = replace(
        load_preset("vnet").candidate().architecture,
        encoder=VNetEncoder(depths=(1, 2, 3, 2), activate_last=True),
        decoder=VNetDecoder(depths=(1, 1, 2, 2), activate_last=True),
        norm="batch",
        activation="elu",
        conv_bias=True,
    )
    own = build_model(architecture, in_channels=1, num_classes=2, ndim=3)
    biases = 2 * 256 + 2 * 128 + 64 + 32
    assert sum(p.numel() for p in own.parameters()) == sum(p.numel() for p in theirs.parameters()) + biases
    random_norms(theirs)
    downs = [theirs.in_tr, theirs.down_tr32, theirs.down_tr64, theirs.down_tr128, theirs.down_tr256]
    ups = [theirs.up_tr256, theirs.up_tr128, theirs.up_tr64, theirs.up_tr32]
    weights: Weights = [item for part in downs for item in part.state_dict().items()]
    for place, up in enumerate(ups):
        (name, value), *rest = up.up_conv.state_dict().items()
        weights += [(name, exchanged(value, 0) if place else value), *rest, *up.bn1.state_dict().items()]
    for up in ups:
        for name, value in up.ops.state_dict().items():
            weights.append((name, exchanged(exchanged(value, 0), 1)))
            if name.endswith("conv.weight"):
                weights.append(("no bias", torch.zeros(value.shape[0])))
    (name, value), *rest = theirs.out_tr.state_dict().items()
    weights += [(name, exchanged(value, 1)), *rest]
    take(own, weights)
    assert_equal(own, theirs, torch.randn(1, 1, 32, 32, 32))


def exchanged(value: Tensor, dim: int) -> Tensor:
    """The two halves of a dimension in the other order; values without it as they are."""
    if value.dim() <= dim:
        return value
    first, second = value.chunk(2, dim=dim)
    return torch.cat([second, first], dim=dim)


def test_unet_of_segmentation_models() -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    theirs = smp.Unet("resnet34", encoder_weights=None, in_channels=3, classes=2)
    architecture = Architecture(
        encoder=Resnet(34),
        context=NoContext(),
        skip=Concat(),
        decoder=UNetDecoder(CELL, upsample="nearest", widths=(16, 32, 64, 128, 256)),
        head=ConvHead(kernel=3),
    )
    own = build_model(architecture, in_channels=3, num_classes=2, ndim=2)
    assert sum(p.numel() for p in own.parameters()) == sum(p.numel() for p in theirs.parameters())
    random_norms(theirs)
    take(own.encoder, list(theirs.encoder.state_dict().items()))
    for place, (cell, block) in enumerate(zip(own.decoder.cells, theirs.decoder.blocks, strict=True)):
        (name, first), *items = block.state_dict().items()
        taken = first.shape[1] - (256, 128, 64, 64, 0)[place]  # upsampled channels, which come first there
        take(cell, [(name, torch.cat([first[:, taken:], first[:, :taken]], dim=1)), *items])
    take(own.head, list(theirs.segmentation_head.state_dict().items()))
    assert_equal(own, theirs, torch.randn(1, 3, 64, 96))
