"""Attention between places and between channels.

Source: Fu et al. 2019, "Dual attention network for scene segmentation", arXiv:1809.02983.
Deviations: only the sum of the two goes on; the decoder ``dual_attention`` hands over both for auxiliary heads as well.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.attention import DualAttention
from search_spaces.context import Context
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("dual_attention")
@dataclass(frozen=True, slots=True)
class DualAttentionContext(Context):
    """The sum of both attentions.

    Attributes:
        width: Channels of both and of the result; the paper takes a quarter of the features' own.
    """

    width: int

    def __post_init__(self) -> None:
        if self.width < 1:
            raise SpaceError(f"dual_attention: width {self.width} given; at least 1 is allowed.")

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _SumModule(layers, in_channels, self.width)


class _SumModule(nn.Module):
    def __init__(self, layers: Layers, in_channels: int, width: int) -> None:
        super().__init__()
        self.attention = DualAttention(layers, in_channels, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, width, *S)."""
        total: Tensor = self.attention(x)[0]
        return total
