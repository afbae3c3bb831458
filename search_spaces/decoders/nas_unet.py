"""Cells that double the size.

Source: Weng et al. 2019, "NAS-Unet: neural architecture search for medical image segmentation", Figure 2,
    doi:10.1109/ACCESS.2019.2908991.
Deviations: those of ``scale_cells``.
"""

from dataclasses import dataclass, replace

from torch import Tensor, nn

from search_spaces.decoder import Decoder
from search_spaces.encoder import Features, Levels
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.scale_cells import DOUBLING, ScaleCell, Sum, check_nodes, tidy_nodes
from search_spaces.skip import Skip
from search_spaces.upsampling import factors


@entry("nas_unet")
@dataclass(frozen=True, slots=True)
class NasUNetDecoder(Decoder):
    """One cell a level, which takes the encoder's map of this level first and the coarser result second.

    Attributes:
        nodes: The cell; it returns the size of its first input.
        width: Channels of a node.
    """

    nodes: tuple[Sum, ...]
    width: int

    def __post_init__(self) -> None:
        if self.width < 1:
            raise SpaceError(f"nas_unet: width {self.width} given; at least 1 is allowed.")
        check_nodes(self.nodes, "nas_unet.nodes", DOUBLING)

    def canonical(self) -> "NasUNetDecoder":
        """Nodes in the one order that does not depend on how they were numbered."""
        nodes = tidy_nodes(self.nodes)
        return self if nodes == self.nodes else replace(self, nodes=nodes)

    def out_levels(self, levels: Levels, num_classes: int) -> Levels:
        """Every level but the deepest, finest first."""
        strides = levels.strides[:-1]
        return Levels((len(self.nodes) * self.width,) * len(strides), strides)

    def refusal(self, levels: Levels, skip: Skip) -> str | None:
        if skip.kind != "none":
            return f"nas_unet takes fine features in its cells, skip {skip.kind!r} given; choose none."
        if set(factors(levels)) != {2}:
            return (
                f"nas_unet doubles the size from level to level, strides {levels.strides} given; "
                "choose an encoder that halves it each time, or another decoder."
            )
        return None

    def build(self, layers: Layers, levels: Levels, skip: Skip, num_classes: int) -> nn.Module:
        return _DecoderModule(self, layers, levels)


class _DecoderModule(nn.Module):
    def __init__(self, choice: NasUNetDecoder, layers: Layers, levels: Levels) -> None:
        super().__init__()
        nodes = tidy_nodes(choice.nodes)
        self.cells = nn.ModuleList()
        coarse = levels.channels[-1]
        for fine in reversed(levels.channels[:-1]):
            self.cells.append(ScaleCell(nodes, layers, (fine, coarse), choice.width, first_stride=1))
            coarse = len(nodes) * choice.width

    def forward(self, features: Features) -> list[Tensor]:
        """Features -> (N, nodes * width, *S_i) of each level but the deepest, both finest first."""
        x = features.maps[-1]
        results: list[Tensor] = []
        for fine, cell in zip(reversed(features.maps[:-1]), self.cells, strict=True):
            x = cell(fine, x, tuple(int(length) for length in fine.shape[2:]))
            results.append(x)
        return results[::-1]
