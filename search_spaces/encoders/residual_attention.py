"""Residual attention network.

Source: Wang et al. 2017, "Residual attention network for image classification", section 3, Figure 2, Table 2,
    arXiv:1704.06904.
Deviations: without the classifier.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.dense_block import before_conv
from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, resize
from search_spaces.register import entry

EXPANSION = 4  # channels of a unit over its inner ones
TRUNK = 2  # units of a trunk (section 4.1: p = 1, t = 2, r = 1)


@entry("residual_attention")
@dataclass(frozen=True, slots=True)
class ResidualAttention(Encoder):
    """Stages of pre-activated bottlenecks with attention modules: a trunk times one plus a mask.

    The mask of a module is an hourglass that sees features down to stride 32.

    Attributes:
        width: Channels of the stem; the stages have 4, 8, 16 and 32 times as many.
        modules: Attention modules of the first three stages; (1, 1, 1) is Attention-56, (1, 2, 3) Attention-92.
    """

    width: int = 8
    modules: tuple[int, int, int] = (1, 1, 1)

    def __post_init__(self) -> None:
        if self.width < 1 or min(self.modules) < 0:
            raise SpaceError(
                f"residual_attention: {self!r} given; a width from 1 and modules from 0 are allowed."
            )

    def levels(self) -> Levels:
        stages = tuple(self.width * EXPANSION * 2**stage for stage in range(4))
        return Levels((self.width, *stages), (2, 4, 8, 16, 32))

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _ResidualAttentionModule(self, layers, in_channels)


class _ResidualAttentionModule(nn.Module):
    def __init__(self, choice: ResidualAttention, layers: Layers, in_channels: int) -> None:
        super().__init__()
        channels = choice.levels().channels
        self.stem = layers.conv_block(in_channels, choice.width, kernel=7, stride=2)
        self.pool = layers.pool("max", 3, stride=2)
        self.stages = nn.ModuleList()
        for stage, count in enumerate((*choice.modules, 0)):
            before, after = channels[stage], channels[stage + 1]
            parts = nn.Sequential(_Unit(layers, before, after, stride=2 if stage else 1))
            for _ in range(count):
                parts.append(_Attention(layers, after, halvings=3 - stage))
            self.stages.append(parts)
        tail = (_Unit(layers, channels[-1], channels[-1]) for _ in range(2))  # the last stage has three units
        self.stages[-1] = nn.Sequential(self.stages[-1], *tail, before_conv(layers, channels[-1]))

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> stem and stages, finest first."""
        maps = [self.stem(x)]
        x = self.pool(maps[0])
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return Features(maps, [])


class _Unit(nn.Module):
    """Pre-activated bottleneck (He et al. 2016, arXiv:1603.05027, Figure 1 (b))."""

    def __init__(self, layers: Layers, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        inner = max(out_channels // EXPANSION, 1)
        self.start = before_conv(layers, in_channels)
        self.body = nn.Sequential(
            layers.conv_block(in_channels, inner, kernel=1),
            layers.conv_block(inner, inner, kernel=3, stride=stride),
            layers.conv(inner, out_channels, kernel=1, bias=layers.bias),
        )
        self.shortcut: nn.Module | None = None
        if stride > 1 or in_channels != out_channels:
            self.shortcut = layers.conv(in_channels, out_channels, kernel=1, stride=stride, bias=layers.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, out_channels, *(S / stride))."""
        y = self.start(x)
        result: Tensor = self.body(y) + (x if self.shortcut is None else self.shortcut(y))
        return result


class _Attention(nn.Module):
    """``(1 + mask) * trunk`` between two units (Eq. 3)."""

    def __init__(self, layers: Layers, channels: int, *, halvings: int) -> None:
        super().__init__()
        self.first, self.last = _Unit(layers, channels, channels), _Unit(layers, channels, channels)
        self.trunk = nn.Sequential(*(_Unit(layers, channels, channels) for _ in range(TRUNK)))
        self.hourglass = _Hourglass(layers, channels, halvings)
        self.mask = nn.Sequential()
        for _ in range(2):
            self.mask.extend(before_conv(layers, channels))
            self.mask.append(layers.conv(channels, channels, kernel=1, bias=layers.bias))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> the same."""
        x = self.first(x)
        mask = torch.sigmoid(self.mask(self.hourglass(x)))
        result: Tensor = self.last((1 + mask) * self.trunk(x))
        return result


class _Hourglass(nn.Module):
    """Down and up again, a unit on each way and one beside the inner hourglass."""

    def __init__(self, layers: Layers, channels: int, halvings: int) -> None:
        super().__init__()
        self.pool = layers.pool("max", 3, stride=2)
        self.down, self.up = _Unit(layers, channels, channels), _Unit(layers, channels, channels)
        self.beside = _Unit(layers, channels, channels) if halvings > 1 else None
        self.inner = _Hourglass(layers, channels, halvings - 1) if halvings > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> the same."""
        y = self.down(self.pool(x))
        if self.inner is not None and self.beside is not None:
            y = self.beside(y) + self.inner(y)
        return resize(self.up(y), tuple(x.shape[2:]))
