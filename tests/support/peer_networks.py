"""Networks of segmentation_models.pytorch (smp) and MONAI, and the same ones here: for tests of equal logits, and timings.

The shapes of smp's encoder ResNet-18 and of its standard decoders; MONAI's at the widths that its tutorials have.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from search_spaces.architecture import Architecture
from search_spaces.cell import chain
from search_spaces.contexts.aspp import Aspp
from search_spaces.contexts.none import NoContext
from search_spaces.contexts.pyramid_pool import PyramidPool
from search_spaces.decoders.deepest import Deepest
from search_spaces.decoders.deeplab import DeepLabDecoder
from search_spaces.decoders.nested import NestedDecoder
from search_spaces.decoders.unet import UNetDecoder
from search_spaces.encoders.plain import Plain
from search_spaces.encoders.resnet import Resnet
from search_spaces.heads.conv import ConvHead
from search_spaces.heads.hidden import HiddenHead
from search_spaces.operations.conv import Conv
from search_spaces.operations.separable import Separable
from search_spaces.skips.attention_gate import AttentionGate
from search_spaces.skips.concat import Concat
from search_spaces.skips.none import NoSkip

CELL = chain(Conv(3), Conv(3))
WIDTHS = (16, 32, 64, 128, 256)  # of smp's U-Net and UNet++
DILATED = ((1,), (2,))  # smp dilates the first block of a stage, too


@dataclass(frozen=True, slots=True)
class Twin:
    """One network, here and there.

    Attributes:
        architecture: Ours.
        peer: Makes theirs, with the given number of classes, for images of three channels.
    """

    architecture: Architecture
    peer: Callable[[int], nn.Module]


def _smp(name: str, **options: Any) -> Callable[[int], nn.Module]:
    def make(classes: int) -> nn.Module:
        import segmentation_models_pytorch as smp

        network: nn.Module = getattr(smp, name)(
            "resnet18", encoder_weights=None, in_channels=3, classes=classes, **options
        )
        return network

    return make


def _monai(name: str, **options: Any) -> Callable[[int], nn.Module]:
    def make(classes: int) -> nn.Module:
        from monai.networks import nets

        network: nn.Module = getattr(nets, name)(
            spatial_dims=2, in_channels=3, out_channels=classes, **options
        )
        return network

    return make


TWINS = {
    "smp Unet": Twin(
        Architecture(
            encoder=Resnet(18),
            context=NoContext(),
            skip=Concat(),
            decoder=UNetDecoder(CELL, upsample="nearest", widths=WIDTHS),
            head=ConvHead(kernel=3),
        ),
        _smp("Unet"),
    ),
    "smp UnetPlusPlus": Twin(
        Architecture(
            encoder=Resnet(18),
            context=NoContext(),
            skip=Concat(),
            decoder=NestedDecoder(CELL, upsample="nearest", widths=WIDTHS),
            head=ConvHead(kernel=3),
        ),
        _smp("UnetPlusPlus"),
    ),
    "smp PSPNet": Twin(
        Architecture(
            encoder=Resnet(18, output_stride=8, stages=2),
            context=PyramidPool(32, image_norm=False),
            skip=NoSkip(),
            decoder=Deepest(),
            head=HiddenHead(512, dropout=0.2, kernel=1, last=3),
        ),
        _smp("PSPNet"),
    ),
    "smp DeepLabV3Plus": Twin(
        Architecture(
            encoder=Resnet(18, output_stride=16, block_rates=DILATED),
            context=Aspp((12, 24, 36), 256, image_norm=True, separable=True, dropout=0.5, inner=False),
            skip=Concat(),
            decoder=DeepLabDecoder(chain(Separable(3)), 256, low_width=48, deepest=(Separable(3),)),
        ),
        _smp("DeepLabV3Plus"),
    ),
    "monai BasicUNet": Twin(
        Architecture(
            encoder=Plain((32, 32, 64, 128, 256), (2, 2, 2, 2, 2)),
            context=NoContext(),
            skip=Concat(),
            decoder=UNetDecoder(CELL),
            norm="instance",
            activation="leaky_relu",
            conv_bias=True,
        ),
        _monai("BasicUNet", act=("leakyrelu", {"negative_slope": 0.01})),  # that of Layers.activate
    ),
    "monai AttentionUnet": Twin(
        Architecture(
            encoder=Plain((16, 32, 64, 128, 256), (2, 2, 2, 2, 2), strided=True),
            context=NoContext(),
            skip=AttentionGate(),
            decoder=UNetDecoder(chain(Conv(3)), upsample="transposed_block"),
            conv_bias=True,
        ),
        _monai("AttentionUnet", channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2)),
    ),
}
