"""Depthwise separable convolution.

Source: Chollet 2017, "Xception: deep learning with depthwise separable convolutions", arXiv:1610.02357.
Deviations: one normalisation and activation after the pointwise convolution, none between the two, as in the
    paper's Figure 10 (the intermediate activation costs accuracy), unless ``inner`` asks for them, which DeepLabV3+ has
    (Chen et al. 2018, arXiv:1802.02611, section 3.2).
"""

from dataclasses import dataclass, field

from torch import nn

from search_spaces.codec import LATER
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry


@entry("separable")
@dataclass(frozen=True, slots=True)
class Separable(Operation):
    """Depthwise convolution, pointwise convolution, normalisation, activation.

    Attributes:
        kernel: Odd size of the depthwise kernel in pixels, at least 3.
        rate: Distance of its taps.
        inner: Whether normalisation and activation stand between the two, too.
    """

    kernel: int = 3
    rate: int = 1
    inner: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        if self.kernel < 3 or self.kernel % 2 == 0 or self.rate < 1:
            raise SpaceError(
                f"separable: {self!r} given; the kernel is odd and at least 3, the rate at least 1."
            )

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        make = layers.conv_block if self.inner else layers.conv
        depthwise = make(in_channels, in_channels, kernel=self.kernel, rate=self.rate, groups=in_channels)
        return nn.Sequential(depthwise, layers.conv_block(in_channels, out_channels, kernel=1))
