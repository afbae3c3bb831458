"""Cells that halve the size.

Source: Weng et al. 2019, "NAS-Unet: neural architecture search for medical image segmentation", Figure 2,
    doi:10.1109/ACCESS.2019.2908991.
Deviations: those of ``scale_cells``.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

from torch import Tensor, nn

from search_spaces.encoder import Encoder, Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.scale_cells import HALVING, ScaleCell, Sum, check_nodes, tidy_nodes

STEM = 4  # channels of the stems over those of a node


@entry("nas_unet")
@dataclass(frozen=True, slots=True)
class NasUNetEncoder(Encoder):
    """Two stems, at strides 1 and 2, then cells that each take the two maps before.

    Attributes:
        nodes: The cell; its first input is twice as large as its second, and it returns half the size of the second.
        width: Channels of a node.
        depth: Number of cells.
    """

    nodes: tuple[Sum, ...]
    width: int
    depth: int = 4

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 1:
            raise SpaceError(
                f"nas_unet: width {self.width}, depth {self.depth} given; at least 1 of each is needed."
            )
        check_nodes(self.nodes, "nas_unet.nodes", HALVING)

    def canonical(self) -> "NasUNetEncoder":
        """Nodes in the one order that does not depend on how they were numbered."""
        nodes = tidy_nodes(self.nodes)
        return self if nodes == self.nodes else replace(self, nodes=nodes)

    def levels(self) -> Levels:
        channels = (STEM * self.width,) * 2 + (len(self.nodes) * self.width,) * self.depth
        return Levels(channels, tuple(2**place for place in range(self.depth + 2)))

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return _EncoderModule(self, layers, in_channels)


class _EncoderModule(nn.Module):
    def __init__(self, choice: NasUNetEncoder, layers: Layers, in_channels: int) -> None:
        super().__init__()
        channels = choice.levels().channels
        self.stems = nn.ModuleList(
            nn.Sequential(
                layers.conv(in_channels, channels[0], kernel=kernel, stride=stride, bias=layers.bias),
                layers.normalise(channels[0]),
            )
            for kernel, stride in ((1, 1), (3, 2))
        )
        nodes = tidy_nodes(choice.nodes)
        self.cells = nn.ModuleList(
            ScaleCell(nodes, layers, (first, second), choice.width, first_stride=2)
            for first, second in pairwise(channels[:-1])
        )

    def forward(self, x: Tensor) -> Features:
        """(N, in_channels, *S) -> stems and cells, finest first."""
        maps = [stem(x) for stem in self.stems]
        for cell in self.cells:
            size = tuple(int(length) // 2 for length in maps[-1].shape[2:])
            maps.append(cell(maps[-2], maps[-1], size))
        return Features(maps, [])
