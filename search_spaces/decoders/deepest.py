"""No decoder: the deepest features are the result.

Source: Chen et al. 2017, "Rethinking atrous convolution for semantic image segmentation", arXiv:1706.05587, where logits
    are made at the output stride and interpolated.
Deviations: none.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("deepest")
@dataclass(frozen=True, slots=True)
class Deepest(Decoder):
    """Hands the deepest features to the head."""

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        return Levels(levels.channels[-1:], levels.strides[-1:])

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        return None if skip.kind == "none" else f"deepest has no skip, {skip.kind} given; choose none."

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _DeepestModule()


class _DeepestModule(nn.Module):
    def forward(self, features: Features) -> list[Tensor]:
        """Features -> the deepest map."""
        return [features.maps[-1]]
