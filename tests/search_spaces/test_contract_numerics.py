"""What every part of a network keeps to in numbers: half precision, memory layout, repetition, the smallest images."""

import pytest
import torch
from entries import PARTS, architecture_with, example, skip_impossible

from search_spaces.network import Network, build_model
from search_spaces.register import Entry


def network_with(part: str, family: type[Entry], kind: str) -> Network:
    entry = example(family, kind)
    skip_impossible(entry, 2)
    return build_model(architecture_with(part, entry), in_channels=1, num_classes=3, ndim=2, seed=0)


@pytest.mark.parametrize(("part", "family", "kind"), PARTS, ids=str)
def test_training_in_half_precision_and_channels_last_repeats(
    part: str, family: type[Entry], kind: str
) -> None:
    x = torch.randn(2, 1, 40, 24, generator=torch.Generator().manual_seed(0))
    gradients = []
    for _ in range(2):
        network = network_with(part, family, kind).to(memory_format=torch.channels_last)
        torch.manual_seed(0)  # dropout
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(x.to(memory_format=torch.channels_last))
        logits.float().square().mean().backward()
        found = [weight.grad.flatten() for weight in network.parameters() if weight.grad is not None]
        gradients.append(torch.cat(found))
    assert torch.isfinite(gradients[0]).all()
    assert torch.equal(gradients[0], gradients[1])


@pytest.mark.parametrize(("part", "family", "kind"), PARTS, ids=str)
def test_one_small_image_is_enough_and_layout_does_not_matter(
    part: str, family: type[Entry], kind: str
) -> None:
    network = network_with(part, family, kind)
    for size in ((5, 7), (1, 1)):
        logits = network(torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(0)))
        assert logits.shape == (1, 3, *size)
        logits.sum().backward()
    network.eval()
    x = torch.randn(2, 1, 33, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = network(x)
        network.to(memory_format=torch.channels_last)
        error = (network(x.to(memory_format=torch.channels_last)) - logits).abs().max()
    assert error <= 1e-4 * logits.abs().max()  # float32 sums in another order
