"""Cascaded refinement: residual units, fusion of two levels, chained pooling.

Source: Lin et al. 2017, "RefineNet: multi-path refinement networks for high-resolution semantic segmentation", Figure 3,
    arXiv:1611.06612.
Deviations: a chain has four poolings, a level ends with three residual units, and only the first of a unit's two
    convolutions has a bias, as in the authors' released network and its re-write, whose parameter count is known; there is
    no dropout before the cascade; residual branches start at or near zero, where the released one starts from small numbers.
"""

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from search_spaces.decoder import Decoder, refuse_wider
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, OwnStart, resize
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("refinenet")
@dataclass(frozen=True, slots=True)
class RefineNetDecoder(Decoder):
    """Each level is adapted, joined with the coarser result, pooled in a chain and refined; no norms.

    Attributes:
        width: Channels of each level but the deepest, which has ``deepest_width``.
        deepest_width: Channels of the deepest level; 0 takes twice the width.
        finest: Which level is the last to be joined, 0 the first of the encoder.
        pools: Poolings of a chain.
    """

    width: int
    deepest_width: int = 0
    finest: int = 1
    pools: int = 4

    def __post_init__(self) -> None:
        if self.width < 1 or self.deepest_width < 0 or self.finest < 0 or self.pools < 1:
            raise SpaceError(
                f"refinenet: {self!r} given; a width and at least one pool are needed, the rest is at least 0."
            )

    def first(self, levels: Levels) -> int:
        """The finest level that is joined."""
        return min(self.finest, len(levels.channels) - 2)

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        strides = levels.strides[self.first(levels) : -1]
        return Levels((self.width,) * len(strides), strides)

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        return refuse_wider("refinenet", skip)

    def in_network(self, levels: Levels, skip: Skip, *, bias: bool) -> "RefineNetDecoder":
        deepest = 0 if self.deepest_width == 2 * self.width else self.deepest_width
        return replace(self, deepest_width=deepest, finest=max(self.first(levels), 0))

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _RefineNetModule(self, layers, levels, skip)


class _RefineNetModule(OwnStart):
    def __init__(self, choice: RefineNetDecoder, layers: Layers, levels: Levels, skip: Skip) -> None:
        super().__init__()
        width = choice.width
        deep = choice.deepest_width or 2 * width
        channels = levels.channels[choice.first(levels) :]
        self.adapt = nn.ModuleList([_adapted(layers, channels[-1], deep)])
        self.refine = nn.ModuleList([_refined(layers, deep, choice.pools)])
        self.pass_on = nn.ModuleList([layers.conv(deep, width, kernel=3)])
        self.skips = nn.ModuleList()
        for place, level in enumerate(reversed(channels[:-1])):
            adapt = _adapted(layers, level, width)
            self.adapt.append(adapt.append(layers.conv(width, width, kernel=3)))
            self.skips.append(skip.build(layers, fine=width, coarse=width))
            self.refine.append(_refined(layers, width, choice.pools))
            if place < len(channels) - 2:
                self.pass_on.append(layers.conv(width, width, kernel=3))

    def start(self) -> None:
        """Convolutions that nothing rectifies keep the variance with half of He's."""
        for conv in (*self.pass_on, *(part for adapt in self.adapt for part in cast(nn.Sequential, adapt))):
            if isinstance(conv, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> one (N, width, *S_i) a level but the deepest, finest first."""
        maps = features.maps[::-1]
        x = self.refine[0](self.adapt[0](maps[0]))
        results: list[Tensor] = []
        levels = zip(
            maps[1:], list(self.adapt)[1:], self.skips, list(self.refine)[1:], self.pass_on, strict=False
        )
        for fine, adapt, skip, refine, pass_on in levels:
            own = adapt(fine)
            x = refine(skip(own, resize(pass_on(x), tuple(own.shape[2:]))))
            results.append(x)
        return results[::-1]


def _adapted(layers: Layers, in_channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        layers.conv(in_channels, width, kernel=3), _Unit(layers, width), _Unit(layers, width)
    )


def _refined(layers: Layers, width: int, pools: int) -> nn.Sequential:
    units = (_Unit(layers, width) for _ in range(3))
    return nn.Sequential(layers.activate(width, inplace=False), _ChainedPool(layers, width, pools), *units)


class _Unit(OwnStart):
    """Residual convolution unit (Figure 3 b)."""

    def start(self) -> None:
        """It begins as the identity: there are up to twenty, and no norm."""
        nn.init.zeros_(cast(Tensor, self.body[-1].weight))

    def __init__(self, layers: Layers, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            layers.activate(width, inplace=False),
            layers.conv(width, width, kernel=3, bias=True),
            layers.activate(width),
            layers.conv(width, width, kernel=3),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, *S) -> the same shape."""
        result: Tensor = x + self.body(x)
        return result


class _ChainedPool(OwnStart):
    """Chained residual pooling (Figure 3 d): each block pools what the one before returned; all are summed."""

    def start(self) -> None:
        """All blocks together begin smaller than what they are added to."""
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d | nn.Conv3d):
                with torch.no_grad():
                    conv.weight.div_(len(self.blocks))

    def __init__(self, layers: Layers, width: int, pools: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(layers.pool("max", 5), layers.conv(width, width, kernel=3)) for _ in range(pools)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, *S) -> the same shape."""
        top = x
        for block in self.blocks:
            top = block(top)
            x = x + top
        return x
