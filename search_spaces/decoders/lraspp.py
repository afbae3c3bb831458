"""Lite reduced atrous pyramid: scores of two levels, those of the deepest weighted by the image's mean.

Source: Howard et al. 2019, "Searching for MobileNetV3", section 6.4, Figure 10, arXiv:1905.02244.
Deviations: the mean is over the whole image instead of windows of 49 pixels; its convolution has a bias, as in SqueezeNAS
    (Shaw et al. 2019, arXiv:1908.01748).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, resize
from search_spaces.pooling import image_mean
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("lraspp")
@dataclass(frozen=True, slots=True)
class LrAsppDecoder(Decoder):
    """Scores of the deepest level but one, plus upsampled scores of the weighted deepest level.

    Attributes:
        width: Channels of the deepest level before it makes scores.
    """

    classifies = True

    width: int = 128

    def __post_init__(self) -> None:
        if self.width < 1:
            raise SpaceError(f"lraspp: width {self.width} given; at least 1 is allowed.")

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        return Levels((num_classes,), levels.strides[-2:-1])

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        if skip.out_channels(8, 8) == 8:
            return None
        return f"lraspp adds scores, which skip {skip.kind!r} does not; choose sum or none."

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _LrAsppModule(self.width, layers, levels, skip, num_classes)


class _LrAsppModule(nn.Module):
    def __init__(self, width: int, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> None:
        super().__init__()
        fine, deep = levels.channels[-2:]
        self.reduce = layers.conv_block(deep, width, kernel=1)
        self.gate = layers.conv(deep, width, kernel=1, bias=True)
        self.deep_scores = layers.conv(width, num_classes, kernel=1, bias=True)
        self.fine_scores = layers.conv(fine, num_classes, kernel=1, bias=True)
        self.skip = skip.build(layers, fine=num_classes, coarse=num_classes)

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> scores (N, num_classes, *S) of the deepest level but one."""
        fine, deep = features.maps[-2:]
        weighted = self.reduce(deep) * torch.sigmoid(self.gate(image_mean(deep)))  # (N, width, *S_deep)
        coarse = resize(self.deep_scores(weighted), tuple(fine.shape[2:]))
        return [self.skip(self.fine_scores(fine), coarse)]
