"""Fabric: a lattice of layers and scales with every edge between neighbours.

Source: Saxena and Verbeek 2016, "Convolutional neural fabrics", sections 3.1 and 3.2, Figures 1 and 2, arXiv:1606.02492.
Deviations: results of coarser nodes are interpolated linearly after their convolution, where the paper puts zeros between
    values before it; channels are dense, with normalisation and activation after the sum at each node.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, resize
from search_spaces.register import entry


@entry("fabric")
@dataclass(frozen=True, slots=True)
class Fabric(Encoder):
    """Each node sums 3-convolutions of the finer, the equal and the coarser node of the layer before it.

    The first layer goes down from the image, the last one comes up again, so that its finest map knows of all.

    Attributes:
        width: Channels of every node.
        scales: Nodes of a layer, each of half the size of the one before.
        layers: Number of layers, the first and the last included.
    """

    width: int = 8
    scales: int = 3
    layers: int = 3

    def __post_init__(self) -> None:
        if self.width < 1 or self.scales < 2 or self.layers < 2:
            raise SpaceError(
                f"fabric: {self!r} given; a width from 1, two or more scales and two or more layers are allowed."
            )

    def levels(self) -> Levels:
        return Levels((self.width,) * self.scales, tuple(2**scale for scale in range(self.scales)))

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _FabricModule(self, layers, in_channels)


class _FabricModule(nn.Module):
    def __init__(self, choice: Fabric, layers: Layers, in_channels: int) -> None:
        super().__init__()
        width, scales = choice.width, choice.scales
        self.first = nn.ModuleList(
            layers.conv_block(width if scale else in_channels, width, kernel=3, stride=2 if scale else 1)
            for scale in range(scales)
        )
        self.columns = nn.ModuleList()
        for column in range(1, choice.layers):
            last = column == choice.layers - 1
            self.columns.append(
                nn.ModuleList(
                    _Node(layers, width, finer=scale > 0, coarser=(scale < scales - 1) * (1 + last))
                    for scale in range(scales)
                )
            )

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> the last layer's (N, width, *S_i), finest first."""
        maps = []
        for block in self.first:
            x = block(x)
            maps.append(x)
        for column in self.columns:
            assert isinstance(column, nn.ModuleList)
            after: list[Tensor] = []
            for scale in range(len(maps) - 1, -1, -1):  # from coarse to fine, as the last layer comes up
                around = maps[max(scale - 1, 0) : scale + 2]
                after.append(column[scale](around, after[-1] if after else None))
            maps = after[::-1]
        return Features(maps, [])


class _Node(nn.Module):
    """``coarser``: 0 without a coarser neighbour, 1 for that of the layer before, 2 for that of its own layer, too."""

    def __init__(self, layers: Layers, width: int, *, finer: bool, coarser: int) -> None:
        super().__init__()
        self.equal = layers.conv(width, width, kernel=3, bias=layers.bias)
        self.finer = layers.conv(width, width, kernel=3, stride=2) if finer else None
        self.coarser = nn.ModuleList(layers.conv(width, width, kernel=3) for _ in range(coarser))
        self.end = nn.Sequential(layers.normalise(width), layers.activate(width))

    def forward(self, around: list[Tensor], below: Tensor | None) -> Tensor:
        """Finer (where there is one), equal and coarser map of the layer before, coarser map of this layer."""
        own = around[1] if self.finer is not None else around[0]
        total = self.equal(own)
        if self.finer is not None:
            total = total + self.finer(around[0])
        for conv, source in zip(self.coarser, (around[-1], below), strict=False):
            assert source is not None
            total = total + resize(conv(source), tuple(own.shape[2:]))
        result: Tensor = self.end(total)
        return result
