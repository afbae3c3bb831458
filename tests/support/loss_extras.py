"""What terms need beside logits and labels, for tests: exact distance maps, a fixed image, second prediction and critic."""

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
        critic=lambda image, maps: (image[:, 0] * maps[:, 1]).flatten(1).mean(1),
    )
