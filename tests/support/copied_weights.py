"""Weights of another library's network put into ours, and the comparison of what both compute."""

import torch
from torch import Tensor, nn

from search_spaces.network import Network

Weights = list[tuple[str, Tensor]]


def weights_of(*parts: nn.Module) -> Weights:
    """Weights and statistics of modules in order."""
    return [item for part in parts for item in part.state_dict().items()]


def random_norms(network: nn.Module) -> None:
    """Statistics, scales and biases that are not 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point() and value.dim() == 1:
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))


def take(own: nn.Module, theirs: Weights) -> None:
    """Copy weights and statistics in their order, those of equal shapes."""
    found = list(own.state_dict().items())
    assert len(found) == len(theirs)
    with torch.no_grad():
        for (name, value), (other, source) in zip(found, theirs, strict=True):
            assert value.shape == source.shape, (name, other)
            value.copy_(source)


def reordered(value: Tensor, sizes: list[int], order: list[int], dim: int = 1) -> Tensor:
    """Pieces of a dimension in another order."""
    pieces = value.split(sizes, dim=dim)
    return torch.cat([pieces[place] for place in order], dim=dim)


def assert_equal(own: Network, theirs: nn.Module, x: Tensor) -> None:
    """Equal logits within 1e-5 of the largest, in evaluation mode."""
    own.eval()
    theirs.eval()
    with torch.no_grad():
        ours, expected = own(x), theirs(x)
    expected = expected[0] if isinstance(expected, list | tuple) else expected
    assert (ours - expected).abs().max() < 1e-5 * max(float(expected.abs().max()), 1.0)
