"""Dense blocks: each layer sees what all layers before it made.

Source: Huang et al. 2017, "Densely connected convolutional networks", Eq. 2, arXiv:1608.06993.
"""

import torch
from torch import Tensor, nn

from search_spaces.layers import Layers


def before_conv(layers: Layers, channels: int) -> nn.Sequential:
    """Normalisation and activation ahead of a convolution; the features that go in stay as they are."""
    return nn.Sequential(layers.normalise(channels), layers.activate(channels, inplace=layers.norm != "none"))


class DenseBlock(nn.Module):
    """Normalisation, activation, 3-convolution and dropout, layer by layer.

    Args:
        depth: Number of layers.
        growth: Channels that each adds.
        dropout: Share of them that is dropped in training.
        keep: Whether what goes in is returned, too, before what is new.
    """

    def __init__(
        self, layers: Layers, channels: int, *, depth: int, growth: int, dropout: float, keep: bool
    ) -> None:
        super().__init__()
        self.keep = keep
        self.layers = nn.ModuleList()
        for place in range(depth):
            before = channels + place * growth
            layer = before_conv(layers, before)
            layer.append(layers.conv(before, growth, kernel=3, bias=layers.bias))
            if dropout:
                layer.append(layers.dropout(dropout))
            self.layers.append(layer)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *S) -> (N, depth * growth, *S), after channels more where they are kept."""
        made = [x]
        for layer in self.layers:
            made.append(layer(torch.cat(made, dim=1) if len(made) > 1 else x))
        return torch.cat(made if self.keep else made[1:], dim=1)
