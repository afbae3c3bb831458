"""Attention gates on a coarser grid, several at once.

Source: Oktay et al. 2018, "Attention U-Net: learning where to look for the pancreas", section 2.2, Figure 2,
    arXiv:1804.03999; several gates as in the authors' code (ozan-oktay/Attention-Gated-Networks).
Deviations: the gating signal is the upsampled coarse map, brought back to the grid of the gate, where the authors take it
    before upsampling.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.errors import SpaceError
from search_spaces.layers import Layers, resize
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("grid_attention")
@dataclass(frozen=True, slots=True)
class GridAttention(Skip):
    """Fine features, weighted by each gate at half their size and joined again; then the upsampled ones.

    Attributes:
        gates: How many weightings there are.
    """

    gates: int = 2

    def __post_init__(self) -> None:
        if self.gates < 1:
            raise SpaceError(f"grid_attention: gates {self.gates} given; at least 1 is allowed.")

    def out_channels(self, fine: int, coarse: int) -> int:
        return fine + coarse

    def build(self, layers: Layers, *, fine: int, coarse: int) -> nn.Module:
        return _GridAttentionModule(layers, fine, coarse, self.gates)


class _GridAttentionModule(nn.Module):
    def __init__(self, layers: Layers, fine: int, coarse: int, gates: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(_Gate(layers, fine, coarse) for _ in range(gates))
        self.join = layers.conv_block(gates * fine, fine, kernel=1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(N, fine, *S), (N, coarse, *S) -> (N, fine + coarse, *S)."""
        gated = torch.cat([gate(fine, coarse) for gate in self.gates], dim=1)
        return torch.cat([self.join(gated), coarse], dim=1)


class _Gate(nn.Module):
    def __init__(self, layers: Layers, fine: int, coarse: int) -> None:
        super().__init__()
        self.from_fine = layers.conv(fine, fine, kernel=2, stride=2)
        self.from_coarse = layers.conv(coarse, fine, kernel=1, bias=True)
        self.activation = layers.activate(fine)
        self.weight = layers.conv(fine, 1, kernel=1, bias=True)
        self.end = nn.Sequential(layers.conv(fine, fine, kernel=1, bias=layers.bias), layers.normalise(fine))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(N, fine, *S), (N, coarse, *S) -> (N, fine, *S)."""
        grid = self.from_fine(fine)  # (N, fine, *(S / 2))
        signal = self.from_coarse(resize(coarse, tuple(grid.shape[2:])))
        weight = torch.sigmoid(self.weight(self.activation(grid + signal)))
        result: Tensor = self.end(fine * resize(weight, tuple(fine.shape[2:])))
        return result
