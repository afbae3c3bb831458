"""What holds for networks of every kind of part: layouts, precisions, batches of one image, repetition."""

import pytest
import torch
from small_networks import NETWORKS
from torch import Tensor

from search_spaces.network import Network, build_model


def built(name: str) -> Network:
    return build_model(NETWORKS[name], in_channels=1, num_classes=3, ndim=2, seed=0)


def image(batch: int = 2) -> Tensor:
    return torch.randn(batch, 1, 40, 48, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_last_changes_nothing(name: str) -> None:
    network = built(name).eval()
    with torch.no_grad():
        expected = network(image())
        found = network.to(memory_format=torch.channels_last)(image().to(memory_format=torch.channels_last))
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()  # float32 sums in another order


@pytest.mark.parametrize("name", NETWORKS)
def test_one_image_trains_in_bfloat16_and_twice_the_same(name: str) -> None:
    grads = []
    for _ in range(2):
        network = built(name).train()
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout2d):
                module.eval()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network.training_logits(image(batch=1))
        sum(scores.float().square().mean() for scores, _ in logits).backward()  # type: ignore[union-attr]  # tensors
        grads.append([weight.grad for weight in network.parameters()])
    for first, second in zip(*grads, strict=True):
        assert first is not None and torch.isfinite(first).all()
        assert torch.equal(first, second)
