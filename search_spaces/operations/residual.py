"""Two convolutions beside a shortcut.

Source: He et al. 2016, "Deep residual learning for image recognition", Figure 5 (left), arXiv:1512.03385.
Deviations: none.
"""

from dataclasses import dataclass

from torch import nn

from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry
from search_spaces.residual import ResidualBlock


@entry("residual")
@dataclass(frozen=True, slots=True)
class Residual(Operation):
    """Two 3-convolutions, their input added before the last activation.

    Attributes:
        rate: Distance of the kernels' taps.
    """

    rate: int = 1

    def __post_init__(self) -> None:
        if self.rate < 1:
            raise SpaceError(f"residual: rate {self.rate} given; at least 1 is allowed.")

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        return ResidualBlock(layers, in_channels, out_channels, bottleneck=False, rate=self.rate)
