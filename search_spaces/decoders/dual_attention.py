"""Attention between places and between channels, and each by itself for auxiliary heads.

Source: Fu et al. 2019, "Dual attention network for scene segmentation", Figure 2, arXiv:1809.02983.
Deviations: none.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.attention import DualAttention
from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("dual_attention")
@dataclass(frozen=True, slots=True)
class DualAttentionDecoder(Decoder):
    """Takes the deepest features only; returns the sum, that between places, that between channels.

    Attributes:
        width: Channels of each; the paper takes a quarter of the features' own.
    """

    width: int

    def __post_init__(self) -> None:
        if self.width < 1:
            raise SpaceError(f"dual_attention: width {self.width} given; at least 1 is allowed.")

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        return Levels((self.width,) * 3, (levels.strides[-1],) * 3)

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        return None if skip.kind == "none" else f"dual_attention has no skip, {skip.kind} given; choose none."

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _DecoderModule(layers, levels.channels[-1], self.width)


class _DecoderModule(nn.Module):
    def __init__(self, layers: Layers, in_channels: int, width: int) -> None:
        super().__init__()
        self.attention = DualAttention(layers, in_channels, width)

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> three maps (N, width, *S_deepest)."""
        results: list[Tensor] = self.attention(features.maps[-1])
        return results
