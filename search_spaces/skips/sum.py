"""Skip connection by addition.

Source: Chaurasia and Culurciello 2017, "LinkNet: exploiting encoder representations for efficient semantic
    segmentation", Figure 1, arXiv:1707.03718.
Deviations: fine features pass a pointwise convolution with normalisation where channels differ.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("sum")
@dataclass(frozen=True, slots=True)
class Sum(Skip):
    """Fine features added to the upsampled ones."""

    def out_channels(self, fine: int, coarse: int) -> int:
        return coarse

    def build(self, layers: Layers, *, fine: int, coarse: int) -> nn.Module:
        return _SumModule(layers.projection(fine, coarse))


class _SumModule(nn.Module):
    def __init__(self, projection: nn.Module) -> None:
        super().__init__()
        self.projection = projection

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        total: Tensor = self.projection(fine) + coarse
        return total
