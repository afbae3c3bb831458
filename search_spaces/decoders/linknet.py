"""Narrow bottlenecks around a transposed convolution, and sums.

Source: Chaurasia and Culurciello 2017, "LinkNet: exploiting encoder representations for efficient semantic
    segmentation", Figure 2, arXiv:1707.03718.
Deviations: the skip is a choice (the paper adds); the finest levels may go without one.
"""

from dataclasses import dataclass, replace

from torch import Tensor, nn

from search_spaces.decoder import Decoder, refuse_wider
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.skip import Skip
from search_spaces.upsampling import factors, refuse_jumps


@entry("linknet")
@dataclass(frozen=True, slots=True)
class LinkNetDecoder(Decoder):
    """Pointwise convolution, transposed 3-convolution, pointwise convolution and a skip at each level.

    Attributes:
        reduction: Channels that come in over those of the transposed convolution.
        unskipped: How many of the finest levels have no skip.
        bias: Whether its convolutions have a bias before the norm, whatever those of other parts have.
    """

    reduction: int = 4
    unskipped: int = 0
    bias: bool = False

    def __post_init__(self) -> None:
        if self.reduction < 1 or self.unskipped < 0:
            raise SpaceError(f"linknet: {self!r} given; reduction from 1 and unskipped from 0 are allowed.")

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        return Levels(levels.channels[:-1], levels.strides[:-1])

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        return refuse_wider("linknet", skip) or refuse_jumps("linknet", levels)

    def takes_skips(self, levels: Levels) -> bool:
        return self.unskipped < len(levels.channels) - 1

    def in_network(self, levels: Levels, skip: Skip, *, bias: bool) -> "LinkNetDecoder":
        unskipped = min(self.unskipped, len(levels.channels) - 1)
        return replace(self, bias=self.bias and not bias, unskipped=unskipped)

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _LinkNetModule(self, layers, levels, skip)


class _LinkNetModule(nn.Module):
    def __init__(self, choice: LinkNetDecoder, layers: Layers, levels: Levels, skip: Skip) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.skips = nn.ModuleList()  # of the deepest levels only
        coarse = levels.channels[-1]
        steps = factors(levels)
        for place in range(len(steps) - 1, -1, -1):
            fine = levels.channels[place]
            self.blocks.append(_block(choice, layers, coarse, fine, factor=steps[place]))
            if place >= choice.unskipped:
                self.skips.append(skip.build(layers, fine=fine, coarse=fine))
            coarse = fine

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> (N, C_i, *S_i) of each level but the deepest, finest first."""
        x = features.maps[-1]
        results = []
        for place, (fine, block) in enumerate(zip(reversed(features.maps[:-1]), self.blocks, strict=True)):
            x = block(x)
            if place < len(self.skips):
                x = self.skips[place](fine, x)
            results.append(x)
        return results[::-1]


def _block(choice: LinkNetDecoder, layers: Layers, coarse: int, fine: int, *, factor: int) -> nn.Module:
    bias = layers.bias or choice.bias
    inner = max(coarse // choice.reduction, 1)
    middle = (
        layers.transposed(inner, inner, kernel=3, bias=bias)
        if factor == 2
        else layers.conv(inner, inner, kernel=3, bias=bias)
    )
    convs = (
        (layers.conv(coarse, inner, kernel=1, bias=bias), inner),
        (middle, inner),
        (layers.conv(inner, fine, kernel=1, bias=bias), fine),
    )
    block = nn.Sequential()
    for conv, channels in convs:
        block.extend([conv, layers.normalise(channels), layers.activate(channels)])
    return block
