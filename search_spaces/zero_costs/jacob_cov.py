"""Jacobian covariance: how little the gradients at different images resemble one another.

Source: Mellor et al. 2020, "Neural architecture search without training", version 1, Eq. 3 to 6, arXiv:2006.04647v1; called
    ``jacob_cov`` in Abdelfattah et al. 2021, "Zero-cost proxies for lightweight NAS", arXiv:2101.08134.
Deviations: the output whose gradient is taken is the sum of the logits over classes and pixels, of which the papers have
    classes only. 16 images instead of 256.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.register import entry
from search_spaces.zero_cost import ZeroCost

OFFSET = 1e-5  # k of Eq. 6


@entry("jacob_cov")
@dataclass(frozen=True, slots=True)
class JacobianCovariance(ZeroCost):
    """Minus the sum of ``ln(v + k) + 1 / (v + k)`` over the eigenvalues v of the correlations of the images' gradients."""

    def of(self, network: nn.Module, images: Tensor) -> float:
        """-inf where an image has a gradient that is the same everywhere, zero for instance."""
        images.requires_grad_()
        network(images).sum().backward()
        assert images.grad is not None
        return eigenvalue_score(images.grad.flatten(1).double())


def eigenvalue_score(gradients: Tensor) -> float:
    """Eq. 6 of one gradient a row.

    Shape:
        gradients (N, D) float64.
    """
    centred = gradients - gradients.mean(dim=1, keepdim=True)
    lengths = centred.norm(dim=1, keepdim=True)
    if not torch.isfinite(lengths).all() or not (lengths > 0).all():
        return float("-inf")
    centred /= lengths
    values = torch.linalg.eigvalsh(centred @ centred.T).clamp_min(0.0) + OFFSET
    return -float((values.log() + 1.0 / values).sum())
