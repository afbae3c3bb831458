"""What tests of loss terms share: what terms need beside logits and labels, and inputs that are easy to reckon with."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from search_spaces.exact_distance import signed_distance
from search_spaces.scores import LossExtras


def extras(
    labels: Tensor, num_classes: int, *, fraction: float = 1.0, spacing: tuple[float, ...] = ()
) -> LossExtras:
    """Extras of labels (N, *S); all needs are met."""
    masks = torch.stack([labels == c for c in range(num_classes)], dim=1)
    generator = torch.Generator().manual_seed(5)
    sizes = (len(labels), num_classes, *labels.shape[1:])
    return LossExtras(
        fraction=fraction,
        spacing=spacing,
        distance=signed_distance(masks.flatten(0, 1), spacing).view(masks.shape),
        neighbours=torch.full(labels.shape, 4.0),
        image=torch.randn(len(labels), 2, *labels.shape[1:], generator=generator),
        distances=lambda predicted: signed_distance(predicted, spacing),
        second=torch.randn(sizes, generator=generator),
        objects=(labels.clamp(0, num_classes) % num_classes > 0).int(),
        detection=lambda labels, objects: torch.stack([labels.float().mean(), objects.float().mean()]),
        critic=lambda image, maps: (image[:, 0] * maps[:, 1]).flatten(1).mean(1),
    )


def of_two(p: list[float], t: list[int]) -> tuple[Tensor, Tensor]:
    """Logits and labels of a row of pixels whose class 1 has these probabilities."""
    odds = torch.tensor([math.log(x / (1 - x)) for x in p])
    logits = torch.stack([torch.zeros_like(odds), odds])
    return logits.view(1, 2, 1, -1), torch.tensor(t).view(1, 1, -1)


def close(value: float) -> Any:
    """The number but for float32 sums."""
    return pytest.approx(value, rel=2e-5)
