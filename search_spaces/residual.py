"""Residual blocks.

Source: He et al. 2016, "Deep residual learning for image recognition", Figure 5, arXiv:1512.03385.
Deviations: the stride is in the 3-convolution of a bottleneck and not before it, as in all later code.
"""

from torch import Tensor, nn

from search_spaces.layers import Layers

EXPANSION = 4  # output channels over inner channels of a bottleneck


class ResidualBlock(nn.Module):
    """Two 3-convolutions, or a bottleneck of three convolutions, beside a shortcut.

    Args:
        width: Inner channels; a bottleneck returns four times as many.
        rate: Of each 3-convolution.
    """

    def __init__(
        self,
        layers: Layers,
        in_channels: int,
        width: int,
        *,
        bottleneck: bool,
        stride: int = 1,
        rate: int = 1,
    ) -> None:
        super().__init__()
        out_channels = width * EXPANSION if bottleneck else width
        if bottleneck:
            self.body = nn.Sequential(
                layers.conv_block(in_channels, width, kernel=1),
                layers.conv_block(width, width, kernel=3, stride=stride, rate=rate),
                layers.conv(width, out_channels, kernel=1, bias=layers.bias),
                layers.normalise(out_channels),
            )
        else:
            self.body = nn.Sequential(
                layers.conv_block(in_channels, width, kernel=3, stride=stride, rate=rate),
                layers.conv(width, out_channels, kernel=3, rate=rate, bias=layers.bias),
                layers.normalise(out_channels),
            )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            conv = layers.conv(in_channels, out_channels, kernel=1, stride=stride, bias=layers.bias)
            self.shortcut = nn.Sequential(conv, layers.normalise(out_channels))
        self.activate = layers.activate(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, out_channels, *(S / stride))."""
        result: Tensor = self.activate(self.body(x) + self.shortcut(x))
        return result
