"""No skip connection."""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("none")
@dataclass(frozen=True, slots=True)
class NoSkip(Skip):
    """Leaves the fine features out."""

    def out_channels(self, fine: int, coarse: int) -> int:
        return coarse

    def build(self, layers: Layers, *, fine: int, coarse: int) -> nn.Module:
        return _NoSkipModule()


class _NoSkipModule(nn.Module):
    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        return coarse
