"""No decoder: the finest features are the result.

Source: Saxena and Verbeek 2016, "Convolutional neural fabrics", section 3.2, arXiv:1606.02492, whose encoder comes back to
    the image's size by itself.
Deviations: none.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("finest")
@dataclass(frozen=True, slots=True)
class Finest(Decoder):
    """Hands the finest features to the head; coarser ones count where the encoder has mixed them in."""

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        return Levels(levels.channels[:1], levels.strides[:1])

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        return None if skip.kind == "none" else f"finest has no skip, {skip.kind} given; choose none."

    def reads_deepest(self, levels: Levels) -> bool:
        return len(levels.channels) == 1

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _FinestModule()


class _FinestModule(nn.Module):
    def forward(self, features: Features) -> list[Tensor]:
        """Features -> the finest map."""
        return [features.maps[0]]
