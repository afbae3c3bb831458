"""NASWOT: how differently the activations of a network respond to different images.

Source: Mellor et al. 2021, "Neural architecture search without training", Eq. 2 and Algorithm 1, arXiv:2006.04647 (v3).
Deviations: a unit's bit is the sign of what goes into its activation, for all three activations of ours. For ReLU that is the
    paper's code; leaky ReLU bends at zero, too; SiLU has no linear regions, and its bit says on which side of one half its
    gate is. All activations count, those of encoder, context and decoder alike, and each position of a map is one unit, so
    that maps of full size speak loudest. Pooling and the head have no bits. 16 images instead of 128.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.layers import ACTIVATIONS
from search_spaces.register import entry
from search_spaces.zero_cost import ZeroCost


@entry("naswot")
@dataclass(frozen=True, slots=True)
class Naswot(ZeroCost):
    """ln |K|, with K[i, j] the number of activation units whose bits agree for images i and j."""

    def of(self, network: nn.Module, images: Tensor) -> float:
        """-inf where two images have equal codes, or there are no units."""
        kernel = torch.zeros(len(images), len(images), dtype=torch.float64)

        def add(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if len(inputs[0]) == len(images):  # else its units are of boxes, not of images
                kernel.add_(agreement(inputs[0].flatten(1) > 0))

        for module in network.modules():
            if isinstance(module, ACTIVATIONS):
                module.register_forward_pre_hook(add)  # before: they work in place
        with torch.no_grad():
            network(images)
        return log_determinant(kernel)


def agreement(codes: Tensor) -> Tensor:
    """In how many bits two codes agree: their number less the Hamming distance.

    Shape:
        codes (N, units) bool; returns (N, N) float64 whole numbers.
    """
    signs = codes.float().mul_(2).sub_(1)
    return (signs @ signs.T).double().add_(codes.shape[1]).div_(2)  # exact below 2**24 units


def log_determinant(kernel: Tensor) -> float:
    """ln |K|; -inf where K is singular."""
    sign, value = torch.linalg.slogdet(kernel)
    return float(value) if sign > 0 else float("-inf")
