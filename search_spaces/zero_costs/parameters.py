"""The number of parameters, which the published scores have to beat.

Source: Abdelfattah et al. 2021, "Zero-cost proxies for lightweight NAS", arXiv:2101.08134, takes it as a baseline.
Deviations: none.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.register import entry
from search_spaces.zero_cost import ZeroCost


@entry("parameters")
@dataclass(frozen=True, slots=True)
class Parameters(ZeroCost):
    """Trainable numbers, as ``profile`` counts them."""

    def of(self, network: nn.Module, images: Tensor) -> float:
        """Any image has the same."""
        return float(sum(weight.numel() for weight in network.parameters()))
