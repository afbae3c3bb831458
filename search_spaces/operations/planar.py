"""Convolutions in a plane, in the volume, or in the plane and then across it.

Source: Zhu et al. 2019, "V-NAS: neural architecture search for volumetric medical image segmentation", section 2.1,
    arXiv:1906.02817; Qiu et al. 2017, "Learning spatio-temporal representation with pseudo-3D residual networks",
    arXiv:1711.10305.
Deviations: none.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from search_spaces.layers import Layers
from search_spaces.operation import Operation
from search_spaces.register import entry


@entry("planar")
@dataclass(frozen=True, slots=True)
class Planar(Operation):
    """The first dimension is across the planes; in two dimensions a plane is a row.

    Attributes:
        way: ``plane`` (1, 3, 3), ``volume`` (3, 3, 3), or ``factorised``, (1, 3, 3) and then (3, 1, 1).
    """

    way: Literal["plane", "volume", "factorised"] = "volume"

    def build(self, layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
        plane = (1, *[3] * (layers.ndim - 1))
        if self.way == "volume":
            return layers.conv_block(in_channels, out_channels, kernel=3)
        inside = layers.conv_block(in_channels, out_channels, kernel=plane)
        if self.way == "plane":
            return inside
        across = (3, *[1] * (layers.ndim - 1))
        return nn.Sequential(inside, layers.conv_block(out_channels, out_channels, kernel=across))
