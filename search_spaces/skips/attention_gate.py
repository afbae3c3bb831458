"""Additive attention gate.

Source: Oktay et al. 2018, "Attention U-Net: learning where to look for the pancreas", Eq. 1 and 2, Figure 2,
    arXiv:1804.03999.
Deviations: the gating signal is upsampled before the gate, not inside it, as in the widespread two-dimensional
    re-writes; each convolution is followed by normalisation, as in them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.errors import SpaceError
from search_spaces.layers import Layers
from search_spaces.register import entry
from search_spaces.skip import Skip


@entry("attention_gate")
@dataclass(frozen=True, slots=True)
class AttentionGate(Skip):
    """Fine features, each place weighted in (0, 1) by what both sides say about it; then the upsampled ones.

    Attributes:
        reduction: Fine channels over those in which the weights are computed.
    """

    reduction: int = 2

    def __post_init__(self) -> None:
        if self.reduction < 1:
            raise SpaceError(f"attention_gate: reduction {self.reduction} given; at least 1 is allowed.")

    def out_channels(self, fine: int, coarse: int) -> int:
        return fine + coarse

    def build(self, layers: Layers, *, fine: int, coarse: int) -> nn.Module:
        return _GateModule(layers, fine, coarse, max(fine // self.reduction, 1))


class _GateModule(nn.Module):
    def __init__(self, layers: Layers, fine: int, coarse: int, inner: int) -> None:
        super().__init__()
        self.from_fine = _linear(layers, fine, inner)
        self.from_coarse = _linear(layers, coarse, inner)
        self.activation = layers.activate(inner)
        self.weight = nn.Sequential(_linear(layers, inner, 1), nn.Sigmoid())

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(N, fine, *S), (N, coarse, *S) -> (N, fine + coarse, *S)."""
        joined = self.activation(self.from_fine(fine) + self.from_coarse(coarse))  # (N, inner, *S)
        return torch.cat([fine * self.weight(joined), coarse], dim=1)


def _linear(layers: Layers, in_channels: int, out_channels: int) -> nn.Module:
    conv = layers.conv(in_channels, out_channels, kernel=1, bias=layers.bias)
    return nn.Sequential(conv, layers.normalise(out_channels))
