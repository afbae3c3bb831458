"""Feature fusion with attention over channels.

Source: Yu et al. 2018, "BiSeNet: bilateral segmentation network for real-time semantic segmentation", section 3.2, Figure 2 c,
    arXiv:1808.00897.
Deviations: none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.layers import Layers
from search_spaces.pooling import image_mean, pooled_block
from search_spaces.register import entry
from search_spaces.skip import Skip

REDUCTION = 4  # channels over those of the hidden layer, of the authors' code


@entry("feature_fusion")
@dataclass(frozen=True, slots=True)
class FeatureFusion(Skip):
    """Both concatenated and mixed, then each channel strengthened by what the image's mean says of it.

    Attributes:
        hidden: Whether a hidden layer makes the strengths from the mean, as in the paper, or one normalised convolution, as in
            the re-write whose parameter count is known.
    """

    hidden: bool = True

    def out_channels(self, fine: int, coarse: int) -> int:
        return fine + coarse

    def build(self, layers: Layers, *, fine: int, coarse: int) -> nn.Module:
        return _FusionModule(layers, fine + coarse, hidden=self.hidden)


class _FusionModule(nn.Module):
    def __init__(self, layers: Layers, channels: int, *, hidden: bool) -> None:
        super().__init__()
        self.mix = layers.conv_block(channels, channels, kernel=1)
        if hidden:
            width = max(channels // REDUCTION, 1)
            self.gate = nn.Sequential(
                layers.conv(channels, width, kernel=1),
                layers.activate(width),
                layers.conv(width, channels, kernel=1),
            )
        else:
            self.gate = pooled_block(layers, channels, channels, activate=False)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(N, fine, *S), (N, coarse, *S) -> (N, fine + coarse, *S)."""
        mixed: Tensor = self.mix(torch.cat([fine, coarse], dim=1))
        return mixed + mixed * torch.sigmoid(self.gate(image_mean(mixed)))
