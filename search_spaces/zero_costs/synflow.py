"""Synaptic flow: how much of the output passes through the weights.

Source: Tanaka et al. 2020, "Pruning neural networks without any data by iteratively conserving synaptic flow", Eq. 2 and
    section 4, arXiv:2006.05467; summed over a network as in Abdelfattah et al. 2021, arXiv:2101.08134, section 3.2.
Deviations: the logarithm of the sum, which ranks alike and stays small; float64, as the sum of a deep network exceeds
    float32. Norms (batch, instance and group alike) are left out: those that take statistics of the input would divide the
    flow away. So are activations: ReLU and leaky ReLU pass what is not negative unchanged, and SiLU, which does not, is held
    to be one of them. Scales of norms are then no weights; biases are zero.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.layers import drop_norms_and_activations
from search_spaces.register import entry
from search_spaces.zero_cost import ZeroCost


@entry("synflow")
@dataclass(frozen=True, slots=True)
class SynFlow(ZeroCost):
    """ln of the sum over all weights of ``theta * dR/dtheta``, R the sum of outputs of ``|theta|`` for an image of ones."""

    def of(self, network: nn.Module, images: Tensor) -> float:
        """Only the size of the images matters."""
        total = sum(flow(network, images).values())
        return float(torch.tensor(total, dtype=torch.float64).log())


def flow(network: nn.Module, images: Tensor) -> dict[str, float]:
    """The sum of ``theta * dR/dtheta`` of each weight tensor, by its name; changes the network.

    Every set of weights that all paths from input to output cross once has the sum R (the paper's Theorem 2).
    """
    drop_norms_and_activations(network)
    network.double()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight.abs_()
            if name.endswith("bias"):
                weight.zero_()
    network(torch.ones_like(images[:1], dtype=torch.float64)).sum().backward()
    return {
        name: float((weight.detach() * weight.grad).sum())
        for name, weight in network.named_parameters()
        if weight.grad is not None
    }
