"""Losses of regions.

A network has one logit z a region, which is predicted where z > 0. To a loss each region is a problem of two classes, outside
and inside, whose logits are (0, z), as their softmax is the sigmoid of z. So every term holds as it is; the loss is the mean
over regions, each with its own counts, maps and weights.

Source: Isensee et al. 2021, "nnU-Net for brain tumor segmentation", region-based training, arXiv:2011.00848.
Deviations: any loss instead of Dice and binary cross-entropy; the mean over regions instead of one Dice over all of them.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from search_spaces.critic import critic_loss
from search_spaces.errors import ShapeError
from search_spaces.loss import Loss
from search_spaces.regions import VALUES, Regions
from search_spaces.scores import LossExtras

Problem = tuple[Tensor, Tensor, LossExtras]
"""Logits (N, 2, *S), labels (N, *S) in {0, 1, ignored}, and extras of one region."""


def region_labels(labels: Tensor, regions: Regions, *, ignore_index: int) -> Tensor:
    """1 inside each region, 0 outside, ``ignore_index`` where the label is ignored.

    Shape:
        labels (N, *S) int64; returns (N, R, *S) int64.
    """
    return _table(regions, ignore_index, labels.device)[:, labels].movedim(0, 1)


def two_classes(logits: Tensor) -> Tensor:
    """Logits (0, z) of outside and inside, (N, 2, *S), from the logit z (N, *S) of being inside."""
    return torch.stack((torch.zeros_like(logits), logits), dim=1)


def problems(
    logits: Tensor, labels: Tensor, regions: Regions, *, ignore_index: int, extras: LossExtras
) -> Iterator[Problem]:
    """The problem of two classes that each region is.

    Args:
        logits: One a region.
        labels: Class of each pixel, or ``ignore_index``.
        regions: In the order of the logits.
        ignore_index: Label that never counts.
        extras: As a loss of classes has them, but with an axis of regions behind that of samples: ``distance``
            (N, R, 2, *S), ``neighbours`` (N, R, *S), ``second`` (N, R, *S), and a critic that sees the maps of all
            regions, (N, R, *S).

    Shape:
        logits (N, R, *S); labels (N, *S).

    Raises:
        ShapeError: The sizes do not fit.
    """
    if logits.dim() < 3 or logits.shape[1] != len(regions) or logits[:, 0].shape != labels.shape:
        raise ShapeError(
            f"loss of {len(regions)} regions: logits {tuple(logits.shape)} and labels {tuple(labels.shape)} given; "
            "(N, regions, *S) and (N, *S) are needed."
        )
    inside = region_labels(labels, regions, ignore_index=ignore_index)
    critic = None if extras.critic is None else _of_all_maps(extras.critic, logits)
    for number in range(len(regions)):
        mine = replace(
            extras,
            distance=None if extras.distance is None else extras.distance[:, number],
            neighbours=None if extras.neighbours is None else extras.neighbours[:, number],
            second=None if extras.second is None else two_classes(extras.second[:, number]),
            critic=critic,
        )
        yield two_classes(logits[:, number]), inside[:, number], mine


def region_loss(
    loss: Loss,
    logits: Tensor,
    labels: Tensor,
    regions: Regions,
    *,
    ignore_index: int = 255,
    extras: LossExtras | None = None,
    norms: Tensor | None = None,
) -> Tensor:
    """Mean over regions of a loss, in float32; arguments as of ``Loss`` and of ``problems``.

    Raises:
        ShapeError: The sizes do not fit.
    """
    parts = [
        loss(mine, inside, ignore_index=ignore_index, extras=given, norms=norms)
        for mine, inside, given in problems(
            logits, labels, regions, ignore_index=ignore_index, extras=extras or LossExtras()
        )
    ]
    return torch.stack(parts).mean()


def region_gradient_norms(
    loss: Loss,
    logits: Tensor,
    labels: Tensor,
    regions: Regions,
    *,
    ignore_index: int = 255,
    extras: LossExtras | None = None,
) -> Tensor:
    """Norm of the gradient of each term's mean over regions with regard to the logits, (T,) float32."""
    leaf = logits.detach().float().requires_grad_()
    norms = []
    with torch.autocast(logits.device.type, enabled=False):
        for weighted in loss.terms:
            parts = [
                weighted.term(mine, inside, ignore_index=ignore_index, extras=given)
                for mine, inside, given in problems(
                    leaf, labels, regions, ignore_index=ignore_index, extras=extras or LossExtras()
                )
            ]
            norms.append(torch.autograd.grad(torch.stack(parts).mean(), leaf)[0].norm())
    return torch.stack(norms)


def region_critic_loss(
    critic: Callable[[Tensor, Tensor], Tensor],
    image: Tensor,
    logits: Tensor,
    labels: Tensor,
    regions: Regions,
    *,
    ignore_index: int,
) -> Tensor:
    """``critic_loss`` of a critic that sees the maps of all regions at once: each is moved towards its own label.

    Shape:
        image (N, C, *S); logits (N, R, *S); labels (N, *S).
    """
    inside = region_labels(labels, regions, ignore_index=ignore_index)

    def judge(image: Tensor, maps: Tensor) -> Tensor:
        return critic(image, maps[:, 1].reshape(len(image), len(regions), *maps.shape[2:]))

    return critic_loss(
        judge, image, two_classes(logits.flatten(0, 1)), inside.flatten(0, 1), ignore_index=ignore_index
    )


def _of_all_maps(
    critic: Callable[[Tensor, Tensor], Tensor], logits: Tensor
) -> Callable[[Tensor, Tensor], Tensor]:
    """The critic's view of all regions, whichever asks; it is computed once an image."""
    seen = functools.cache(lambda image: critic(image, logits.float().sigmoid()))
    return lambda image, _: seen(image)


@functools.lru_cache(maxsize=64)
def _table(regions: Regions, ignore_index: int, device: torch.device) -> Tensor:
    """What a label is in each region, (R, values) int64."""
    table = torch.zeros(len(regions), max(VALUES, ignore_index + 1), dtype=torch.int64)
    for number, region in enumerate(regions):
        table[number, list(region.classes)] = 1
    table[:, ignore_index] = ignore_index
    return table.to(device)
