"""Systems on dilated residual networks that come in several depths, and DeepLabV3+ on Xception."""

from typing import Literal

from search_spaces.architecture import Architecture, Auxiliary
from search_spaces.cell import chain
from search_spaces.context import Context
from search_spaces.contexts.aspp import Aspp
from search_spaces.contexts.none import NoContext
from search_spaces.contexts.pyramid_pool import PyramidPool
from search_spaces.decoders.deepest import Deepest
from search_spaces.decoders.deeplab import DeepLabDecoder
from search_spaces.encoders.resnet import Resnet
from search_spaces.encoders.xception import Xception
from search_spaces.heads.hidden import HiddenHead
from search_spaces.operations.conv import Conv
from search_spaces.operations.separable import Separable
from search_spaces.skips.concat import Concat
from search_spaces.skips.none import NoSkip

Depth = Literal[50, 101]
THIRD_STAGE = 3  # place of its map among stem and stages: where auxiliary heads of these systems are
AUXILIARY = Auxiliary(of="encoder", level=THIRD_STAGE, width=256)


def fcn(depth: Depth) -> Architecture:
    """Fully convolutional network on a residual network of output stride 8, as torchvision has it."""
    return Architecture(
        encoder=Resnet(depth, output_stride=8),
        context=NoContext(),
        skip=NoSkip(),
        decoder=Deepest(),
        head=HiddenHead(512, dropout=0.1),
        auxiliary=(AUXILIARY,),
    )


def deeplabv3(depth: Depth) -> Architecture:
    """DeepLabV3 of output stride 8, as torchvision has it."""
    return Architecture(
        encoder=Resnet(depth, output_stride=8),
        context=Aspp((12, 24, 36), width=256, image_norm=True, dropout=0.5),
        skip=NoSkip(),
        decoder=Deepest(),
        head=HiddenHead(256),
        auxiliary=(AUXILIARY,),
    )


def deeplabv3plus(depth: Depth) -> Architecture:
    """DeepLabV3+ of output stride 16 with plain convolutions and one 3-convolution after the fusion."""
    return Architecture(
        encoder=Resnet(depth, output_stride=16),
        context=Aspp((6, 12, 18), width=256, image_norm=True, dropout=0.1),
        skip=Concat(),
        decoder=DeepLabDecoder(chain(Conv(3)), width=256, low_level=1, low_width=48),
    )


def xception_with(context: Context) -> Architecture:
    """DeepLabV3+ on Xception-71 of output stride 16, its convolutions separable, with any context."""
    separable = Separable(3, inner=True)
    return Architecture(
        encoder=Xception(71, output_stride=16),
        context=context,
        skip=Concat(),
        decoder=DeepLabDecoder(chain(separable, separable), width=256, low_level=1, low_width=48),
    )


def pspnet(depth: Depth) -> Architecture:
    """Pyramid scene parsing network of output stride 8 with a deep stem."""
    return Architecture(
        encoder=Resnet(depth, output_stride=8, stem="deep", block_rates=((2,), (4,))),
        context=PyramidPool(512),
        skip=NoSkip(),
        decoder=Deepest(),
        head=HiddenHead(512, dropout=0.1),
        auxiliary=(AUXILIARY,),
    )
