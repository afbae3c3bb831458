"""DenseNet.

Source: Huang et al. 2017, "Densely connected convolutional networks", Table 1, sections 3 and 4, arXiv:1608.06993.
Deviations: without the fully connected layer; the last block is dilated where the output stride is 16.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from search_spaces.dense_block import before_conv
from search_spaces.downsampling import downsampler
from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry

BLOCKS = {121: (6, 12, 24, 16), 161: (6, 12, 36, 24), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}  # Table 1
BOTTLENECK = 4  # channels of a layer's pointwise convolution over its growth


@entry("densenet")
@dataclass(frozen=True, slots=True)
class DenseNet(Encoder):
    """Stem at stride 2, then four blocks of layers that see all before them, from stride 4.

    Attributes:
        depth: Layers of the published network.
        growth: Channels that each layer adds: 48 in the published network of 161 layers, 32 in the others. The stem has
            twice as many.
        output_stride: That of the last block.
    """

    depth: Literal[121, 161, 169, 201] = 121
    growth: int = 8
    output_stride: Literal[16, 32] = 32

    def __post_init__(self) -> None:
        if self.growth < 1:
            raise SpaceError(f"densenet: growth {self.growth} given; at least 1 is allowed.")

    def levels(self) -> Levels:
        channels = [2 * self.growth]
        for place, count in enumerate(BLOCKS[self.depth]):
            before = channels[-1] if place == 0 else channels[-1] // 2
            channels.append(before + count * self.growth)
        return Levels(tuple(channels), (2, 4, 8, 16, self.output_stride))

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _DenseNetModule(self, layers, in_channels)


class _DenseNetModule(nn.Module):
    def __init__(self, choice: DenseNet, layers: Layers, in_channels: int) -> None:
        super().__init__()
        levels = choice.levels()
        before = levels.channels[0]
        self.stem = layers.conv_block(in_channels, before, kernel=7, stride=2)
        self.pool = layers.pool("max", 3, stride=2)
        self.transitions = nn.ModuleList([nn.Identity()])
        self.blocks = nn.ModuleList()
        for place, count in enumerate(BLOCKS[choice.depth]):
            dilated = levels.strides[place + 1] == levels.strides[place]
            if place:
                conv = layers.conv(before, before // 2, kernel=1, bias=layers.bias)
                transition = before_conv(layers, before).append(conv)
                if not dilated:
                    transition.append(downsampler(layers, "mean_pool", before))
                self.transitions.append(transition)
                before //= 2
            block = nn.ModuleList()
            for _ in range(count):
                block.append(_layer(layers, before, choice.growth, rate=2 if dilated else 1))
                before += choice.growth
            self.blocks.append(block)
        self.last = before_conv(layers, before)

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> stem and blocks, finest first."""
        x = self.stem(x)
        maps = [x]
        x = self.pool(x)
        for transition, block in zip(self.transitions, self.blocks, strict=True):
            x = transition(x)
            assert isinstance(block, nn.ModuleList)
            for layer in block:
                x = torch.cat([x, layer(x)], dim=1)
            maps.append(x)
        maps[-1] = self.last(x)
        return Features(maps, [])


def _layer(layers: Layers, channels: int, growth: int, *, rate: int) -> nn.Module:
    inner = BOTTLENECK * growth
    parts = before_conv(layers, channels)
    parts.append(layers.conv_block(channels, inner, kernel=1))
    return parts.append(layers.conv(inner, growth, kernel=3, rate=rate, bias=layers.bias))
