"""Attention between all places of a map, or between all its channels.

Source: Wang et al. 2018, "Non-local neural networks", Eq. 2 and 6, Figure 2, arXiv:1711.07971; Fu et al. 2019, "Dual attention
    network for scene segmentation", sections 3.2 to 3.4, Figures 2 and 3, arXiv:1809.02983.
Deviations: none.
"""

import torch
from torch import Tensor, nn

from search_spaces.layers import Layers, OwnStart

REDUCTION = 8  # channels over those of queries and keys, of the code of the dual attention network


class NonLocal(OwnStart):
    """The embedded Gaussian: each place takes from all others as its embedding resembles theirs; added to the features.

    Memory grows with the square of the number of places.
    """

    def __init__(self, layers: Layers, channels: int) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.query, self.key, self.value = (
            layers.conv(channels, inner, kernel=1, bias=True) for _ in range(3)
        )
        self.project = layers.conv(inner, channels, kernel=1, bias=True)

    def start(self) -> None:
        """The block begins as the identity (section 4.1)."""
        for weight in self.project.parameters():
            nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> the same shape."""
        taken = _attend(self.query(x), self.key(x), self.value(x))
        result: Tensor = x + self.project(taken)
        return result


class PositionAttention(nn.Module):
    """Attention between places, scaled by a number that starts at 0 and added to the features."""

    def __init__(self, layers: Layers, channels: int) -> None:
        super().__init__()
        inner = max(channels // REDUCTION, 1)
        self.query = layers.conv(channels, inner, kernel=1, bias=True)
        self.key = layers.conv(channels, inner, kernel=1, bias=True)
        self.value = layers.conv(channels, channels, kernel=1, bias=True)
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> the same shape."""
        return x + self.scale * _attend(self.query(x), self.key(x), self.value(x))


class ChannelAttention(nn.Module):
    """Attention between channels, strongest between those that differ most, scaled and added like that between places."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> the same shape."""
        flat = x.flatten(2)  # (N, C, P)
        likeness = torch.matmul(flat, flat.transpose(1, 2))  # (N, C, C)
        taken = torch.matmul(
            torch.softmax(-likeness, dim=2), flat
        )  # the largest minus it, as the paper's code has it
        return x + self.scale * taken.reshape(x.shape)


class DualAttention(nn.Module):
    """Attention between places and between channels, each between two 3-convolutions, and their sum."""

    def __init__(self, layers: Layers, in_channels: int, width: int) -> None:
        super().__init__()
        self.places, self.channels = (
            nn.Sequential(
                layers.conv_block(in_channels, width, kernel=3),
                attention,
                layers.conv_block(width, width, kernel=3),
            )
            for attention in (PositionAttention(layers, width), ChannelAttention())
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, in_channels, *S) -> sum, of places, of channels; (N, width, *S) each."""
        places, channels = self.places(x), self.channels(x)
        return [places + channels, places, channels]


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(N, C, *S), (N, C, *S), (N, D, *S) -> (N, D, *S): each place takes values by the softmax of query times key."""
    likeness = torch.matmul(query.flatten(2).transpose(1, 2), key.flatten(2))  # (N, P, P)
    shares = torch.softmax(likeness, dim=2)
    taken = torch.matmul(value.flatten(2), shares.transpose(1, 2))  # (N, D, P)
    return taken.reshape(value.shape)
