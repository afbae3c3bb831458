"""Encoder of V-Net.

Source: Milletari et al. 2016, "V-Net: fully convolutional neural networks for volumetric medical image segmentation",
    Figure 2, Table 1, arXiv:1606.04797.
Deviations: an image of several channels is repeated until it has enough of them; the number of dimensions is open.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.summed_stage import SummedStage


@entry("vnet")
@dataclass(frozen=True, slots=True)
class VNetEncoder(Encoder):
    """One convolution plus the repeated image; then, stage by stage, a strided convolution and a residual stage.

    Attributes:
        width: Channels of the first stage; each further stage has twice as many.
        depths: Convolutions of each further stage.
        kernel: Odd size of their kernels in pixels.
        activate_last: Whether a stage's last convolution has an activation of its own before the sum.
    """

    width: int = 16
    depths: tuple[int, ...] = (1, 2)
    kernel: int = 5
    activate_last: bool = False

    def __post_init__(self) -> None:
        if (
            self.width < 1
            or not self.depths
            or min(self.depths) < 1
            or self.kernel < 1
            or self.kernel % 2 == 0
        ):
            raise SpaceError(f"vnet: {self!r} given; width and depths from 1 and an odd kernel are allowed.")

    def levels(self) -> Levels:
        stages = range(len(self.depths) + 1)
        return Levels(tuple(self.width * 2**stage for stage in stages), tuple(2**stage for stage in stages))

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _VNetModule(self, layers, in_channels)


class _VNetModule(nn.Module):
    def __init__(self, choice: VNetEncoder, layers: Layers, in_channels: int) -> None:
        super().__init__()
        width = choice.width
        block = layers.conv_block(in_channels, width, kernel=choice.kernel)
        self.first, self.activation = block[:-1], block[-1]
        self.stages = nn.ModuleList()
        for depth in choice.depths:
            down = layers.conv_block(width, 2 * width, kernel=2, stride=2)
            width = 2 * width
            stage = SummedStage(
                layers, width, depth=depth, kernel=choice.kernel, activate_last=choice.activate_last
            )
            self.stages.append(nn.Sequential(down, stage))

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> one (N, C_i, *S_i) a stage, finest first."""
        y = self.first(x)
        times = -(-y.shape[1] // x.shape[1])
        repeated = torch.cat([x] * times, dim=1)[:, : y.shape[1]]
        maps = [self.activation(y + repeated)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return Features(maps, [])
