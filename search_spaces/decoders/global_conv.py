"""Global convolutions to score maps, whose borders are refined and which are summed from coarse to fine.

Source: Peng et al. 2017, "Large kernel matters: improve semantic segmentation by global convolutional network", Figure 2,
    arXiv:1703.02719.
Deviations: score maps are interpolated instead of deconvolved, as in the re-write whose parameter count is known; in three
    dimensions a branch has three factors, from the first dimension to the last and back.
"""

from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor, nn

from search_spaces.decoder import Decoder, refuse_wider
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, OwnStart, Resize, resize
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("global_conv")
@dataclass(frozen=True, slots=True)
class GlobalConvDecoder(Decoder):
    """Each level makes scores by a large factorised kernel; scores of a level join those of the next finer one.

    Convolutions have biases and no norm, as they make scores.

    Attributes:
        kernel: Odd size of the large kernel in pixels.
        finest: Which level is the finest that makes scores, 0 the first of the encoder; beyond it they are only refined.
    """

    classifies = True

    kernel: int = 7
    finest: int = 1

    def __post_init__(self) -> None:
        if self.kernel < 3 or self.kernel % 2 == 0 or self.finest < 0:
            raise SpaceError(
                f"global_conv: {self!r} given; the kernel is odd and at least 3, finest at least 0."
            )

    def first(self, levels: Levels) -> int:
        """The finest level that makes scores."""
        return min(self.finest, len(levels.channels) - 1)

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        return Levels((num_classes,), (levels.strides[self.first(levels)] >> self.doublings(levels),))

    def doublings(self, levels: Levels) -> int:
        """How often the size is doubled after the finest scores."""
        stride = levels.strides[self.first(levels)]
        return (stride & -stride).bit_length() - 1

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        return refuse_wider("global_conv", skip)

    def takes_skips(self, levels: Levels) -> bool:
        return self.first(levels) < len(levels.channels) - 1

    def in_network(self, levels: Levels, skip: Skip, *, bias: bool) -> "GlobalConvDecoder":
        return replace(self, finest=max(self.first(levels), 0))

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _GlobalConvModule(self, layers, levels, skip, num_classes)


class _GlobalConvModule(nn.Module):
    def __init__(
        self, choice: GlobalConvDecoder, layers: Layers, levels: Levels, skip: Skip, num_classes: int
    ) -> None:
        super().__init__()
        used = levels.channels[choice.first(levels) :]
        self.scores = nn.ModuleList(
            nn.Sequential(
                _GlobalConv(layers, channels, num_classes, choice.kernel), _Refine(layers, num_classes)
            )
            for channels in reversed(used)
        )
        self.skips = nn.ModuleList(
            skip.build(layers, fine=num_classes, coarse=num_classes) for _ in used[:-1]
        )
        self.refine = nn.ModuleList(_Refine(layers, num_classes) for _ in used[:-1])
        self.rise = nn.Sequential()
        for _ in range(choice.doublings(levels)):
            self.rise.append(nn.Sequential(Resize(2), _Refine(layers, num_classes)))

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> scores (N, num_classes, *S)."""
        maps = features.maps[::-1]
        x = self.scores[0](maps[0])
        levels = zip(maps[1:], list(self.scores)[1:], self.skips, self.refine, strict=False)
        for fine, score, skip, refine in levels:
            own = score(fine)
            x = refine(skip(own, resize(x, tuple(own.shape[2:]))))
        return [self.rise(x)]


class _GlobalConv(OwnStart):
    """Two chains of one-dimensional convolutions in opposite order, summed (Figure 2 B)."""

    def start(self) -> None:
        """Nothing rectifies between them, so that each keeps the variance with half of He's."""
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")

    def __init__(self, layers: Layers, in_channels: int, num_classes: int, kernel: int) -> None:
        super().__init__()
        shapes = [tuple(kernel if d == dim else 1 for d in range(layers.ndim)) for dim in range(layers.ndim)]
        self.chains = nn.ModuleList()
        for order in (shapes, shapes[::-1]):
            widths = [in_channels, *[num_classes] * (layers.ndim - 1)]
            self.chains.append(
                nn.Sequential(
                    *(
                        layers.conv(w, num_classes, kernel=s, bias=True)
                        for w, s in zip(widths, order, strict=True)
                    )
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, num_classes, *S)."""
        first, second = self.chains
        total: Tensor = first(x) + second(x)
        return total


class _Refine(OwnStart):
    """Two 3-convolutions beside the scores themselves (Figure 2 C)."""

    def start(self) -> None:
        """It begins as the identity: there are up to nine one after another, and no norm."""
        nn.init.zeros_(cast(Tensor, self.body[-1].weight))

    def __init__(self, layers: Layers, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            layers.conv(num_classes, num_classes, kernel=3, bias=True),
            layers.activate(num_classes),
            layers.conv(num_classes, num_classes, kernel=3, bias=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_classes, *S) -> the same shape."""
        result: Tensor = x + self.body(x)
        return result
