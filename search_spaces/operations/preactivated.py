"""Activation, convolution, normalisation: the order in which cells of the DARTS family compute.

Source: Liu et al. 2019, "DARTS: differentiable architecture search", section 3.1, arXiv:1806.09055; Liu et al. 2019,
    "Auto-DeepLab: hierarchical neural architecture search for semantic image segmentation", section 3.1, arXiv:1901.02985.
Deviations: none.
"""

from dataclasses import dataclass, replace

from torch import nn

from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry


@entry("preactivated")
@dataclass(frozen=True, slots=True)
class Preactivated(Operation):
    """Plain, atrous or depthwise separable, once or more.

    Attributes:
        kernel: Odd size of the kernel in pixels.
        rate: Distance of its taps.
        separable: Whether the convolution is a depthwise one followed by a pointwise one.
        repeats: How often the whole follows itself; separable ones are applied twice in DARTS.
    """

    kernel: int = 3
    rate: int = 1
    separable: bool = False
    repeats: int = 1

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0 or self.rate < 1 or self.repeats < 1:
            raise SpaceError(f"preactivated: {self!r} given; the kernel is odd, rate and repeats at least 1.")

    def canonical(self) -> "Preactivated":
        """A kernel of one pixel has no rate."""
        return replace(self, rate=1) if self.kernel == 1 else self

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        parts: list[nn.Module] = []
        before = in_channels
        for _ in range(self.repeats):
            parts.append(layers.activate(before, inplace=False))
            if self.separable:
                parts.append(layers.conv(before, before, kernel=self.kernel, rate=self.rate, groups=before))
                parts.append(layers.conv(before, out_channels, kernel=1, bias=layers.bias))
            else:
                parts.append(
                    layers.conv(before, out_channels, kernel=self.kernel, rate=self.rate, bias=layers.bias)
                )
            parts.append(layers.normalise(out_channels))
            before = out_channels
        return nn.Sequential(*parts)
