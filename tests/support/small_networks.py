"""A small network of each kind of part, for checks that hold for all of them."""

from search_spaces.architecture import Architecture
from search_spaces.autodeeplab import BEST_CELL
from search_spaces.cell import chain
from search_spaces.contexts.aspp import Aspp
from search_spaces.contexts.dpc import Dpc, DpcBranch
from search_spaces.contexts.non_local import NonLocalBlock
from search_spaces.contexts.none import NoContext
from search_spaces.contexts.pyramid_attention import PyramidAttention
from search_spaces.contexts.pyramid_pool import PyramidPool
from search_spaces.decoders.bisenet import BiSeNetDecoder
from search_spaces.decoders.deepest import Deepest
from search_spaces.decoders.deeplab import DeepLabDecoder
from search_spaces.decoders.dual_attention import DualAttentionDecoder
from search_spaces.decoders.fpn import FpnDecoder
from search_spaces.decoders.global_conv import GlobalConvDecoder
from search_spaces.decoders.lraspp import LrAsppDecoder
from search_spaces.decoders.refinenet import RefineNetDecoder
from search_spaces.encoders.resnet import Resnet
from search_spaces.encoders.staged import Stage, Staged
from search_spaces.encoders.trellis import Trellis
from search_spaces.encoders.two_path import TwoPath
from search_spaces.encoders.wide_resnet import WideResnet
from search_spaces.encoders.xception import Xception
from search_spaces.heads.conv import ConvHead
from search_spaces.heads.duc import DucHead
from search_spaces.heads.hidden import HiddenHead
from search_spaces.nas_unet import nas_unet
from search_spaces.operations.conv import Conv
from search_spaces.operations.inverted import Inverted
from search_spaces.operations.planar import Planar
from search_spaces.operations.pool import Pool
from search_spaces.pyramid import ScaleAttention
from search_spaces.skips.concat import Concat
from search_spaces.skips.feature_fusion import FeatureFusion
from search_spaces.skips.global_attention import GlobalAttention
from search_spaces.skips.none import NoSkip
from search_spaces.skips.sum import Sum

RESNET = Resnet(18, width=4)
DILATED = Resnet(18, width=4, output_stride=8)
DPC = Dpc(8, (DpcBranch(("atrous", 1, 3)), DpcBranch(("pool", 1, 1)), DpcBranch(("pool", 4, 2), 1)))
PLAN = (Stage(8, (Inverted(3, 2), Pool("mean"))), Stage(8, (Planar("factorised"),)))
NETWORKS = {
    "pyramid pool": Architecture(DILATED, PyramidPool(4), NoSkip(), Deepest(), head=HiddenHead(8)),
    "dense upsampling": Architecture(DILATED, NonLocalBlock(), NoSkip(), Deepest(), head=DucHead()),
    "dual attention": Architecture(DILATED, NoContext(), NoSkip(), DualAttentionDecoder(8)),
    "pyramid attention": Architecture(
        RESNET, PyramidAttention(8), GlobalAttention(), FpnDecoder(8), head=ConvHead(3)
    ),
    "two paths": Architecture(TwoPath(RESNET, width=4), NoContext(), FeatureFusion(), BiSeNetDecoder(8)),
    "global convolution": Architecture(RESNET, NoContext(), Sum(), GlobalConvDecoder()),
    "refinement": Architecture(RESNET, NoContext(), Sum(), RefineNetDecoder(8)),
    "prediction cell": Architecture(Xception(41, width=4), DPC, Concat(), DeepLabDecoder(chain(Conv(3)), 8)),
    "trellis": Architecture(
        Trellis(4, BEST_CELL, (0, 1, 2, 1)),
        Aspp((1, 2), 8, image_norm=True, separable=True),
        Concat(),
        DeepLabDecoder(chain(Conv(3)), 8),
    ),
    "wide residual": Architecture(WideResnet(2), NoContext(), NoSkip(), Deepest()),
    "stages": Architecture(Staged(PLAN), NoContext(), Sum(), LrAsppDecoder(8)),
    "scales": Architecture(
        DILATED, NoContext(), NoSkip(), Deepest(), pyramid=ScaleAttention((1.0, 0.5), width=8)
    ),
    "scale cells": nas_unet(16, depth=2),
}
