"""The network that Auto-DeepLab decoded, in any width.

Source: Liu et al. 2019, "Auto-DeepLab: hierarchical neural architecture search for semantic image segmentation", Figure 3 and
    Table 2, arXiv:1901.02985; the cell and the path from its code (``hnasnet``).
"""

from search_spaces.architecture import Architecture
from search_spaces.cell import chain
from search_spaces.contexts.aspp import Aspp
from search_spaces.decoders.deeplab import DeepLabDecoder
from search_spaces.encoder import Encoder
from search_spaces.encoders.trellis import BEST_PATH, Block, Taken, Trellis
from search_spaces.operations.conv import Conv
from search_spaces.operations.preactivated import Preactivated
from search_spaces.skips.concat import Concat

ATROUS3, ATROUS5 = Preactivated(3, rate=2), Preactivated(5, rate=2)
SEPARABLE3, SEPARABLE5 = (Preactivated(kernel, separable=True, repeats=2) for kernel in (3, 5))
BEST_CELL = (
    Block(Taken(ATROUS5, 1), Taken(SEPARABLE3, 0)),
    Block(Taken(SEPARABLE3, 1), Taken(ATROUS3, 0)),
    Block(Taken(SEPARABLE3, 3), Taken(SEPARABLE3, 1)),
    Block(Taken(SEPARABLE5, 4), Taken(SEPARABLE5, 2)),
    Block(Taken(SEPARABLE5, 3), Taken(ATROUS5, 5)),
)


def autodeeplab(width: int) -> Architecture:
    """The decoded network with so many channels a block at stride 4: 20 is S, 32 is M, 48 is L."""
    return autodeeplab_with(Trellis(width, BEST_CELL, BEST_PATH))


def autodeeplab_with(encoder: Encoder) -> Architecture:
    """The context and the decoder of Auto-DeepLab after any encoder."""
    return Architecture(
        encoder=encoder,
        context=Aspp((6, 12, 18), width=256, image_norm=True),
        skip=Concat(),
        decoder=DeepLabDecoder(chain(Conv(3), Conv(3)), width=256, low_level=1, low_width=48),
    )
