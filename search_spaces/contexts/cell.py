"""A cell on the deepest features."""

from dataclasses import dataclass

from torch import nn

from search_spaces.cell import Cell
from search_spaces.context import Context
from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry


@entry("cell")
@dataclass(frozen=True, slots=True)
class CellContext(Context):
    """Any graph of operations.

    Attributes:
        cell: What is computed.
        width: Channels of the result.
    """

    cell: Cell
    width: int

    def __post_init__(self) -> None:
        if self.width < 1:
            raise SpaceError(f"cell: width {self.width} given; at least 1 is allowed.")

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, layers: Layers, in_channels: int) -> nn.Module:
        return self.cell.build(layers, in_channels, self.width)
