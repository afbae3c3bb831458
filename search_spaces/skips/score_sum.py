"""Skip connection between scores of classes.

Source: Long et al. 2015, "Fully convolutional networks for semantic segmentation", section 4.2, arXiv:1411.4038.
Deviations: none.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("score_sum")
@dataclass(frozen=True, slots=True)
class ScoreSum(Skip):
    """Fine features through a pointwise convolution with a bias, without normalisation, added to the upsampled ones."""

    def out_channels(self, fine: int, coarse: int) -> int:
        return coarse

    def build(self, layers: Layers, *, fine: int, coarse: int) -> nn.Module:
        return _ScoreSumModule(layers.conv(fine, coarse, kernel=1, bias=True))


class _ScoreSumModule(nn.Module):
    def __init__(self, score: nn.Module) -> None:
        super().__init__()
        self.score = score

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        total: Tensor = self.score(fine) + coarse
        return total
