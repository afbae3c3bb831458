"""Decoder of V-Net.

Source: Milletari et al. 2016, "V-Net: fully convolutional neural networks for volumetric medical image segmentation",
    Figure 2, Table 1, arXiv:1606.04797.
Deviations: the skip is a choice (the paper concatenates); where it returns other channels, a pointwise convolution
    changes them.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.skip import Skip
from search_spaces.summed_stage import SummedStage
from search_spaces.upsampling import factors, refuse_jumps


@entry("vnet")
@dataclass(frozen=True, slots=True)
class VNetDecoder(Decoder):
    """Transposed convolution, skip and a residual stage twice as wide as the encoder's of that level.

    Attributes:
        depths: Convolutions of each level, finest first; the last number counts for all further levels.
        kernel: Odd size of their kernels in pixels.
        activate_last: Whether a stage's last convolution has an activation of its own before the sum.
    """

    depths: tuple[int, ...] = (1, 2)
    kernel: int = 5
    activate_last: bool = False

    def __post_init__(self) -> None:
        if not self.depths or min(self.depths) < 1 or self.kernel < 1 or self.kernel % 2 == 0:
            raise SpaceError(f"vnet: {self!r} given; depths from 1 and an odd kernel are allowed.")

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        return Levels(tuple(2 * channels for channels in levels.channels[:-1]), levels.strides[:-1])

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        return refuse_jumps("vnet", levels)

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _VNetModule(self, layers, levels, skip)


class _VNetModule(nn.Module):
    def __init__(self, choice: VNetDecoder, layers: Layers, levels: Levels, skip: Skip) -> None:
        super().__init__()
        self.ups = nn.ModuleList()
        self.skips = nn.ModuleList()
        self.matches = nn.ModuleList()
        self.stages = nn.ModuleList()
        coarse = levels.channels[-1]
        steps = factors(levels)
        for place in range(len(steps) - 1, -1, -1):
            fine = levels.channels[place]
            if steps[place] == 1:
                up = layers.conv_block(coarse, fine, kernel=1)
            else:
                up = nn.Sequential(
                    layers.transposed(coarse, fine), layers.normalise(fine), layers.activate(fine)
                )
            self.ups.append(up)
            self.skips.append(skip.build(layers, fine=fine, coarse=fine))
            coarse = 2 * fine
            self.matches.append(layers.projection(skip.out_channels(fine, fine), coarse))
            depth = choice.depths[min(place, len(choice.depths) - 1)]
            self.stages.append(
                SummedStage(
                    layers, coarse, depth=depth, kernel=choice.kernel, activate_last=choice.activate_last
                )
            )

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> (N, C_i, *S_i) of each level but the deepest, finest first."""
        x = features.maps[-1]
        results = []
        parts = (self.ups, self.skips, self.matches, self.stages)
        for fine, up, skip, match, stage in zip(reversed(features.maps[:-1]), *parts, strict=True):
            x = stage(match(skip(fine, up(x))))
            results.append(x)
        return results[::-1]
