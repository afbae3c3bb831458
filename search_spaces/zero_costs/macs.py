"""The number of multiply-accumulates, which the published scores have to beat.

Source: Abdelfattah et al. 2021, "Zero-cost proxies for lightweight NAS", arXiv:2101.08134, takes FLOPS as a baseline.
Deviations: none.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from search_spaces.register import entry
from search_spaces.walk import walk
from search_spaces.zero_cost import ZeroCost


@entry("macs")
@dataclass(frozen=True, slots=True)
class Macs(ZeroCost):
    """Multiply-accumulates for one image, as ``profile`` counts them."""

    def of(self, network: nn.Module, images: Tensor) -> float:
        """Only the size of an image matters."""
        return float(walk(network.to("meta"), tuple(images.shape[1:]), stride=1).macs)
