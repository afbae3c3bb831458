"""Plain and atrous convolution."""

from dataclasses import dataclass, replace

from torch import nn

from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry


@entry("conv")
@dataclass(frozen=True, slots=True)
class Conv(Operation):
    """Convolution, normalisation, activation.

    Attributes:
        kernel: Odd size of the kernel in pixels.
        rate: Distance of the kernel's taps; above 1 the convolution is atrous.
    """

    kernel: int = 3
    rate: int = 1

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0 or self.rate < 1:
            raise SpaceError(f"conv: {self!r} given; the kernel is odd and the rate at least 1.")

    def canonical(self) -> "Conv":
        """A kernel of one pixel has no rate."""
        return replace(self, rate=1) if self.kernel == 1 else self

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        return layers.conv_block(in_channels, out_channels, kernel=self.kernel, rate=self.rate)
