"""Networks of segmentation_models.pytorch and MONAI built here, with their weights: equal logits and as many parameters.

Left out where a library is not installed. smp interpolates with corners aligned and we do not, so ``corners`` exchanges that.
What is joined is joined in another order there, so input channels of the next convolution are exchanged.
"""

from typing import Any, cast

import pytest
import torch
from copied_weights import Weights, assert_equal, random_norms, reordered, take, weights_of
from peer_networks import TWINS
from torch import nn

from search_spaces.network import Network, build_model


def both(name: str) -> tuple[Any, Any]:
    twin = TWINS[name]
    theirs = twin.peer(5)
    random_norms(theirs)
    return build_model(twin.architecture, in_channels=3, num_classes=5, ndim=2), theirs


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def backwards(weights: Weights, sizes: list[int]) -> Weights:
    """The first convolution takes what is joined in the opposite order."""
    (name, first), *rest = weights
    return [(name, reordered(first, sizes, list(range(len(sizes)))[::-1])), *rest]


def check(own: Network, theirs: nn.Module) -> None:
    assert_equal(own, theirs, torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))


def test_unetplusplus(corners: None) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    own, theirs = both("smp UnetPlusPlus")
    assert count(own) == count(theirs)
    take(own.encoder, weights_of(theirs.encoder))
    climbed = len(own.decoder.columns)
    encoder = (64, 64, 128, 256, 512)
    for column, nodes in enumerate(own.decoder.columns, start=1):
        for level, node in enumerate(nodes):
            place = climbed - 1 - level
            weights = weights_of(theirs.decoder.blocks[f"x_{place - column + 1}_{place}"])
            earlier = [encoder[level]] * column
            take(node, backwards(weights, [weights[0][1].shape[1] - sum(earlier), *earlier]))
    take(own.decoder.further, weights_of(theirs.decoder.blocks[f"x_0_{climbed}"]))
    take(own.head, weights_of(theirs.segmentation_head))
    check(own, theirs)


def test_pspnet(corners: None) -> None:
    """Their encoder keeps the third and the fourth stage, which nothing uses."""
    pytest.importorskip("segmentation_models_pytorch")
    own, theirs = both("smp PSPNet")
    idle = count(theirs.encoder.layer3) + count(theirs.encoder.layer4)
    assert count(own) == count(theirs) - idle
    encoder = theirs.encoder
    take(own.encoder, weights_of(encoder.conv1, encoder.bn1, encoder.layer1, encoder.layer2))
    take(own.context, weights_of(theirs.decoder.psp))
    (name, first), *rest = weights_of(theirs.decoder.conv)
    joined = reordered(first, [32, 32, 32, 32, 128], [4, 0, 1, 2, 3])
    take(own.head, [(name, joined), *rest, *weights_of(theirs.segmentation_head)])
    check(own, theirs)


def test_deeplabv3plus(corners: None) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    own, theirs = both("smp DeepLabV3Plus")
    assert count(own) == count(theirs)
    take(own.encoder, weights_of(theirs.encoder))
    take(own.context, weights_of(theirs.decoder.aspp[0]))
    take(own.decoder.match, weights_of(*list(theirs.decoder.aspp)[1:]))
    take(own.decoder.reduce, weights_of(theirs.decoder.block1))
    (depth, first), (point, second), *rest = weights_of(theirs.decoder.block2)
    sizes, order = [256, 48], [1, 0]
    exchanged = [(depth, reordered(first, sizes, order, 0)), (point, reordered(second, sizes, order))]
    take(own.decoder.cell, [*exchanged, *rest])
    take(own.head, weights_of(theirs.segmentation_head))
    check(own, theirs)


def test_attention_unet_of_monai() -> None:
    """Theirs has instance normalisation and a learned slope in the convolutions after skips, batch normalisation and ReLU in
    all others; here these are the same everywhere, so theirs are exchanged.
    """
    pytest.importorskip("monai")
    own, theirs = both("monai AttentionUnet")
    levels = layers_of(theirs)
    for level in levels:
        level.merge.adn = nn.Sequential(nn.BatchNorm2d(level.merge.out_channels), nn.ReLU())
    assert count(own) == count(theirs)
    convs = [theirs.model[0], *(level.submodule[0] for level in levels[:-1]), levels[-1].submodule]
    take(own.encoder, weights_of(*convs))
    for level, up, skip, cell in zip(
        levels[::-1], own.decoder.ups, own.decoder.skips, own.decoder.cells, strict=True
    ):
        gate = level.attention
        take(up, weights_of(level.upconv))
        take(skip, weights_of(gate.W_x, gate.W_g, gate.psi))
        take(cell, weights_of(level.merge))
    take(own.head, weights_of(theirs.model[2]))
    check(own, theirs)


def layers_of(network: nn.Module) -> list[Any]:
    """The attention layers of MONAI's network, outermost first."""
    level, found = cast(Any, network).model[1], []
    while True:
        found.append(level)
        if not isinstance(level.submodule, nn.Sequential):
            return found
        if type(level.submodule[-1]) is not type(level):
            return found
        level = level.submodule[1]
