"""One jump from the deepest features to one fine level.

Source: Chen et al. 2018, "Encoder-decoder with atrous separable convolution for semantic image segmentation",
    Figure 2, arXiv:1802.02611.
Deviations: what follows the fusion is a cell instead of two 3-convolutions; the fine level is a choice instead
    of stride 4; the skip decides how the two are joined (the paper concatenates); where the context's width is
    another than the decoder's, a pointwise convolution changes it before upsampling, which keeps the full-size
    part cheap.
"""

from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from search_spaces.cell import Cell, chain
from search_spaces.codec import LATER
from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
from search_spaces.layers import Layers, resize
from search_spaces.operation import Operation
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("deeplab")
@dataclass(frozen=True, slots=True)
class DeepLabDecoder(Decoder):
    """Deepest features, upsampled bilinearly, joined with reduced fine features, refined by a cell.

    Attributes:
        cell: What refines the joined features.
        width: Channels of the result.
        low_level: Which level of the encoder is fused, 0 the finest; the deepest but one where there are
            fewer.
        low_width: Channels to which its features are reduced by a pointwise convolution.
        deepest: Operations that refine the deepest features, one after another, before they are upsampled.
    """

    cell: Cell
    width: int
    low_level: int = 1
    low_width: int = 16
    deepest: tuple[Operation, ...] = field(default=(), metadata=LATER)

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        return Levels((self.width,), (levels.strides[self.fused(levels)],))

    def fused(self, levels: Levels) -> int:
        """Which level is fused."""
        return min(self.low_level, len(levels.channels) - 2)

    def in_network(self, levels: Levels, skip: Skip, *, bias: bool) -> "DeepLabDecoder":
        return replace(self, low_level=max(self.fused(levels), 0))

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _DeepLabModule(self, layers, levels, skip)


class _DeepLabModule(nn.Module):
    def __init__(self, choice: DeepLabDecoder, layers: Layers, levels: Levels, skip: Skip) -> None:
        super().__init__()
        self.low_level = choice.fused(levels)
        low, deep = levels.channels[self.low_level], levels.channels[-1]
        self.reduce = layers.conv_block(low, choice.low_width, kernel=1)
        self.match = (
            chain(*choice.deepest).build(layers, deep, choice.width)
            if choice.deepest
            else layers.projection(deep, choice.width)
        )
        self.skip = skip.build(layers, fine=choice.low_width, coarse=choice.width)
        self.cell = choice.cell.build(layers, skip.out_channels(choice.low_width, choice.width), choice.width)

    def forward(self, features: Features) -> list[Tensor]:
        """Features, finest first -> one map (N, width, *S_low)."""
        low = features.maps[self.low_level]
        deep = resize(self.match(features.maps[-1]), tuple(low.shape[2:]))  # (N, width, *S_low)
        return [self.cell(self.skip(self.reduce(low), deep))]
