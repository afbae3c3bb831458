"""Scores of classes at several strides, summed from coarse to fine.

Source: Long et al. 2015, "Fully convolutional networks for semantic segmentation", Figure 3, arXiv:1411.4038.
Deviations: scores are interpolated linearly instead of by transposed convolutions that begin as such an interpolation
    and, in the authors' networks, are not trained.
"""

from dataclasses import dataclass, replace

from torch import Tensor, nn

from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, resize
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("scores")
@dataclass(frozen=True, slots=True)
class ScoresDecoder(Decoder):
    """A pointwise classifier on the deepest features; its scores meet those of finer levels at each skip.

    Attributes:
        fused: How many finer levels take part; all where there are fewer.
    """

    classifies = True

    fused: int = 2

    def __post_init__(self) -> None:
        if self.fused < 0:
            raise SpaceError(f"scores: fused {self.fused} given; at least 0 is allowed.")

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        """Scores at the finest fused level first."""
        strides = levels.strides[-1 - self.fused :]
        return Levels((num_classes,) * len(strides), strides)

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        if skip.out_channels(5, 3) == 3:
            return None
        return f"scores adds scores of classes, which {skip.kind} does not; choose the skip score_sum, sum or none."

    def takes_skips(self, levels: Levels) -> bool:
        return self.fused > 0 and len(levels.channels) > 1

    def in_network(self, levels: Levels, skip: Skip, *, bias: bool) -> "ScoresDecoder":
        return replace(self, fused=min(self.fused, len(levels.channels) - 1))

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _ScoresModule(self, layers, levels, skip, num_classes)


class _ScoresModule(nn.Module):
    def __init__(
        self, choice: ScoresDecoder, layers: Layers, levels: Levels, skip: Skip, num_classes: int
    ) -> None:
        super().__init__()
        self.score = layers.conv(levels.channels[-1], num_classes, kernel=1, bias=True)
        fine = levels.channels[-1 - choice.fused : -1]
        self.skips = nn.ModuleList(
            skip.build(layers, fine=channels, coarse=num_classes) for channels in reversed(fine)
        )

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> (N, num_classes, *S_i) of each fused level and the deepest, finest first."""
        scores = [self.score(features.maps[-1])]
        for fine, skip in zip(reversed(features.maps[:-1]), self.skips, strict=False):
            scores.append(skip(fine, resize(scores[-1], tuple(fine.shape[2:]))))
        return scores[::-1]
