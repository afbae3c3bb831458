"""Scores of classes of every map of a decoder, joined to one.

Source: Kayalibay et al. 2017, "CNN-based segmentation of medical imaging data", section 3.2, arXiv:1701.03056; the
    concatenation is that of Oktay et al. 2018, "Attention U-Net", in the authors' code.
Deviations: any decoder may be inside.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
from search_spaces.layers import Layers, resize
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("joined_scores")
@dataclass(frozen=True, slots=True)
class JoinedScores(Decoder):
    """Pointwise classifiers of all maps, interpolated to the size of the result, and one more of all scores.

    Attributes:
        decoder: Whose maps are classified.
    """

    classifies = True

    decoder: Decoder

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        return Levels((num_classes,), self.decoder.out_levels(levels, num_classes).strides[:1])

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        if self.decoder.classifies or self.decoder.unpools:
            return (
                f"joined_scores takes a decoder of features without pool indices, {self.decoder.kind} given; "
                "choose another, for instance unet."
            )
        return self.decoder.refusal(levels, skip)

    def reads_deepest(self, levels: Levels) -> bool:
        return self.decoder.reads_deepest(levels)

    def takes_skips(self, levels: Levels) -> bool:
        return self.decoder.takes_skips(levels)

    def in_network(self, levels: Levels, skip: Skip, *, bias: bool) -> "JoinedScores":
        return replace(self, decoder=self.decoder.in_network(levels, skip, bias=bias))

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _JoinedScoresModule(self, layers, levels, skip, num_classes)


class _JoinedScoresModule(nn.Module):
    def __init__(
        self, choice: JoinedScores, layers: Layers, levels: Levels, skip: Skip, num_classes: int
    ) -> None:
        super().__init__()
        self.decoder = choice.decoder.build(layers, levels, skip, num_classes)
        channels = choice.decoder.out_levels(levels, num_classes).channels
        self.scores = nn.ModuleList(
            layers.conv(count, num_classes, kernel=1, bias=True) for count in channels
        )
        self.join = layers.conv(num_classes * len(channels), num_classes, kernel=1, bias=True)

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> (N, num_classes, *S) at the size of the decoder's result."""
        maps: list[Tensor] = self.decoder(features)
        size = tuple(maps[0].shape[2:])
        scores = [resize(score(x), size) for score, x in zip(self.scores, maps, strict=True)]
        return [self.join(torch.cat(scores, dim=1))]
