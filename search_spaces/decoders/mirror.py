"""The encoder's stages in reverse.

Source: Badrinarayanan et al. 2017, "SegNet: a deep convolutional encoder-decoder architecture for image segmentation",
    Figure 3, arXiv:1511.00561, which compares unpooling with other ways of upsampling.
Deviations: the way of upsampling and the skip are choices; with bilinear upsampling and concatenation it is the
    economical U-Net of widespread re-writes.
"""

from dataclasses import dataclass

from torch import nn

from search_spaces.decoder import Decoder
from search_spaces.encoder import Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.mirrored import Mirrored, mirrored_levels
from search_spaces.register import entry
from search_spaces.skip import Skip
from search_spaces.upsampling import Upsample, refuse_jumps


@entry("mirror")
@dataclass(frozen=True, slots=True)
class MirrorDecoder(Decoder):
    """Upsampling, skip and convolutions at each level; the last one leads to the channels of the next finer level.

    Attributes:
        depths: Convolutions of each level, finest first; the last number counts for all further levels.
        kernel: Odd size of their kernels in pixels.
        upsample: How the size is doubled.
    """

    depths: tuple[int, ...] = (2,)
    kernel: int = 3
    upsample: Upsample = "bilinear"

    def __post_init__(self) -> None:
        if not self.depths or min(self.depths) < 1 or self.kernel < 1 or self.kernel % 2 == 0:
            raise SpaceError(f"mirror: {self!r} given; depths from 1 and an odd kernel are allowed.")

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        return mirrored_levels(levels)

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        return refuse_jumps("mirror", levels)

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return Mirrored(layers, levels, skip, upsample=self.upsample, depths=self.depths, kernel=self.kernel)
