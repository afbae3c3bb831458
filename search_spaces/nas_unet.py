"""The network that NAS-Unet decoded, in any width.

Source: Weng et al. 2019, "NAS-Unet: neural architecture search for medical image segmentation",
    doi:10.1109/ACCESS.2019.2908991; the cells from its code (``NAS_UNET_V2``).
"""

from search_spaces.architecture import Architecture
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.nas_unet import NasUNetDecoder
from search_spaces.encoders.nas_unet import NasUNetEncoder
from search_spaces.heads.conv import ConvHead
from search_spaces.scale_cells import Step, Sum
from search_spaces.skips.none import NoSkip

DOWN = (
    Sum(Step("down_conv", 1), Step("down_dep_conv", 0)),
    Sum(Step("down_cweight", 1), Step("down_dil_conv", 0)),
    Sum(Step("down_dil_conv", 1), Step("down_conv", 0)),
)
UP = (
    Sum(Step("identity", 0), Step("up_cweight", 1)),
    Sum(Step("identity", 2), Step("up_cweight", 1)),
    Sum(Step("cweight", 3), Step("up_conv", 1)),
)


def nas_unet(width: int, depth: int = 5) -> Architecture:
    """The decoded network with so many channels a node and so many cells on the way down."""
    return nas_unet_with(DOWN, UP, width, depth)


def nas_unet_with(down: tuple[Sum, ...], up: tuple[Sum, ...], width: int, depth: int) -> Architecture:
    """The network of any two cells."""
    return Architecture(
        encoder=NasUNetEncoder(down, width, depth),
        context=NoContext(),
        skip=NoSkip(),
        decoder=NasUNetDecoder(up, width),
        norm="group",
        head=ConvHead(bias=False),
    )
