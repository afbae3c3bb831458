"""Skip connection by concatenation.

Source: Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical image segmentation", Figure 1,
    arXiv:1505.04597.
Deviations: nothing is cropped, as convolutions are padded.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("concat")
@dataclass(frozen=True, slots=True)
class Concat(Skip):
    """Fine channels first, then the upsampled ones."""

    def out_channels(self, fine: int, coarse: int) -> int:
        return fine + coarse

    def build(self, layers: Layers, *, fine: int, coarse: int) -> nn.Module:
        return _ConcatModule()


class _ConcatModule(nn.Module):
    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        return torch.cat([fine, coarse], dim=1)
