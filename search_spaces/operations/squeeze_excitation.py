"""A weight for each channel from the mean over the image.

Source: Hu et al. 2018, "Squeeze-and-excitation networks", Eq. 2 to 4, arXiv:1709.01507.
Deviations: none; biases of its two layers are a choice, as codes differ.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.pooling import image_mean
from search_spaces.register import entry


@entry("squeeze_excitation")
@dataclass(frozen=True, slots=True)
class SqueezeExcitation(Operation):
    """Channels times weights in (0, 1); where channels change, a pointwise convolution comes first.

    Attributes:
        reduction: Channels over those of the hidden layer.
        bias: Whether its two layers have one.
    """

    reduction: int = 16
    bias: bool = False

    def __post_init__(self) -> None:
        if self.reduction < 1:
            raise SpaceError(f"squeeze_excitation: reduction {self.reduction} given; at least 1 is allowed.")

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        gate = _Gate(layers, out_channels, max(out_channels // self.reduction, 1), bias=self.bias)
        return nn.Sequential(layers.projection(in_channels, out_channels), gate)


class _Gate(nn.Module):
    def __init__(self, layers: Layers, channels: int, inner: int, *, bias: bool) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            layers.conv(channels, inner, kernel=1, bias=bias),
            layers.activate(inner),
            layers.conv(inner, channels, kernel=1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> the same."""
        return x * torch.sigmoid(self.weigh(image_mean(x)))
