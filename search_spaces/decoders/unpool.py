"""Unpooling: values return to where the maxima were.

Source: Badrinarayanan et al. 2017, "SegNet: a deep convolutional encoder-decoder architecture for image segmentation",
    Figure 3, arXiv:1511.00561; Noh et al. 2015, "Learning deconvolution network for semantic segmentation", Figure 3 (a),
    arXiv:1505.04366.
Deviations: where the deepest features have other channels than the level they return to, a pointwise convolution
    changes them; a skip may add the encoder's features, which the papers do not.
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


@entry("unpool")
@dataclass(frozen=True, slots=True)
class UnpoolDecoder(Decoder):
    """Unpooling and convolutions at each level; the last one leads to the channels of the next finer level.

    Attributes:
        depths: Convolutions of each level, finest first; the last number counts for all further levels.
        kernel: Odd size of their kernels in pixels.
        activate: Whether an activation follows each normalisation; SegNet-Basic has none.
    """

    unpools = True

    depths: tuple[int, ...] = (2,)
    kernel: int = 3
    activate: bool = True

    def __post_init__(self) -> None:
        if not self.depths or min(self.depths) < 1 or self.kernel < 1 or self.kernel % 2 == 0:
            raise SpaceError(f"unpool: {self!r} given; depths from 1 and an odd kernel are allowed.")

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        return mirrored_levels(levels)

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return Mirrored(
            layers,
            levels,
            skip,
            upsample=None,
            depths=self.depths,
            kernel=self.kernel,
            activate=self.activate,
        )
