"""Global attention upsample.

Source: Li et al. 2018, "Pyramid attention network for semantic segmentation", section 3.2, Figure 4, arXiv:1805.10180.
Deviations: the mean is that of the upsampled coarse features, which is theirs before upsampling where the size doubles.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.layers import Layers
from search_spaces.pooling import image_mean, pooled_block
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("global_attention")
@dataclass(frozen=True, slots=True)
class GlobalAttention(Skip):
    """Fine features, channel by channel weighted by the mean of the coarse ones, added to these."""

    def out_channels(self, fine: int, coarse: int) -> int:
        return coarse

    def build(self, layers: Layers, *, fine: int, coarse: int) -> nn.Module:
        return _GlobalAttentionModule(layers, fine, coarse)


class _GlobalAttentionModule(nn.Module):
    def __init__(self, layers: Layers, fine: int, coarse: int) -> None:
        super().__init__()
        self.gate = pooled_block(layers, coarse, coarse, activate=False)
        self.conv = layers.conv_block(fine, coarse, kernel=3)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(N, fine, *S), (N, coarse, *S) -> (N, coarse, *S)."""
        weight = torch.sigmoid(self.gate(image_mean(coarse)))  # (N, coarse, 1, ...)
        total: Tensor = coarse + self.conv(fine) * weight
        return total
