"""Distance maps that losses need: of labels, made with the batch, or on a card; of predictions, made at each step.

Distances are those between centres of pixels or voxels, in the unit of ``spacing``. What each map means stands in
``search_spaces.scores.LossExtras``. Ignored pixels belong to no class and to no object: they are never the nearest of one.

A map of K classes takes K distance transforms, not 2 K: inside a class the nearest pixel outside it is the nearest
among the other classes, whose distances are known. A transform looks at the box of what is not of its class only, so that the
background, which is most of an image, costs least.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import edt
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from search_spaces.region_loss import region_labels
from search_spaces.regions import Regions
from search_spaces.scores import Need
from workers.components import components

Map = npt.NDArray[np.float32]
Labels = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]

CHUNK = 2**26  # elements that a card holds at once while it looks for the nearest; 256 MB


def label_maps(
    labels: Tensor,
    needs: frozenset[Need],
    *,
    num_classes: int,
    ignore_index: int,
    spacing: Sequence[float],
    regions: Regions = (),
) -> dict[str, Tensor]:
    """The maps of a batch of labels that a loss needs, by their name in ``LossExtras``.

    Args:
        labels: Class of each pixel, or ``ignore_index``.
        needs: What the loss needs; needs that are no map of labels are left to others.
        num_classes: Number of classes K.
        ignore_index: Label of pixels that belong nowhere.
        spacing: Size of a pixel along each spatial axis.
        regions: What is learned instead of classes; each has maps of its own, as of two classes.

    Shape:
        labels (N, *S) int64; ``distance`` (N, K, *S) and ``neighbours`` (N, *S) float32, ``objects`` (N, *S) int32; of regions
        (N, R, 2, *S) and twice (N, R, *S).
    """
    if regions:
        inside = region_labels(labels, regions, ignore_index=ignore_index).flatten(0, 1)
        each = label_maps(inside, needs, num_classes=2, ignore_index=ignore_index, spacing=spacing)
        return {
            name: of_all.view(len(labels), len(regions), *of_all.shape[1:]) for name, of_all in each.items()
        }
    samples, steps = labels.numpy(), tuple(spacing)
    maps: dict[str, Tensor] = {}
    if "distance" in needs:
        found = np.zeros((len(samples), num_classes, *samples.shape[1:]), np.float32)
        for place, sample in zip(found, samples, strict=True):
            _fill(place, sample, ignore_index, steps)
        maps["distance"] = torch.from_numpy(found)
    if "neighbours" in needs:
        sums = [neighbour_distances(sample, ignore_index=ignore_index, spacing=steps) for sample in samples]
        maps["neighbours"] = torch.from_numpy(np.stack(sums))
    if "objects" in needs:
        numbers = [components(sample, without=(0, ignore_index))[0] for sample in samples]
        maps["objects"] = torch.from_numpy(np.stack(numbers))
    return maps


def signed_distances(
    labels: Labels, *, num_classes: int, ignore_index: int, spacing: tuple[float, ...]
) -> Map:
    """Signed distance map of every class: positive outside, negative inside, 0 where it is absent or alone.

    Shape:
        labels (*S); returns (K, *S).

    Source: Kervadec et al. 2019, "Boundary loss for highly unbalanced segmentation", section 2, arXiv:1812.07032.
    Deviations: none; the inner border has distance minus one pixel (the authors' code subtracts it).
    """
    maps = np.zeros((num_classes, *labels.shape), np.float32)
    _fill(maps, labels, ignore_index, spacing)
    return maps


def _fill(maps: Map, labels: Labels, ignore_index: int, spacing: tuple[float, ...]) -> None:
    """Write signed distances over the zeros of ``maps``."""
    classes = [(k, labels == k) for k in range(len(maps)) if k != ignore_index]
    present = [(k, inside) for k, inside in classes if inside.any()]
    if len(present) < 2:
        return
    # over the classes: distance to the nearest, 0 at a pixel's own, and to the second nearest, which is the way out of its own
    first = np.full(labels.shape, np.inf, np.float32)
    second, farther = first.copy(), np.empty_like(first)
    for k, inside in present:
        away = ~inside
        box = _box(away)
        maps[k][box] = _to_nearest(away[box], spacing)  # 0 inside
        np.minimum(second, np.maximum(first, maps[k], out=farther), out=second)
        np.minimum(first, maps[k], out=first)
    np.negative(second, out=second)
    for k, inside in present:
        np.copyto(maps[k], second, where=inside)


def neighbour_distances(labels: Labels, *, ignore_index: int, spacing: tuple[float, ...]) -> Map:
    """Sum of the distances to the two nearest objects; infinite everywhere where there are fewer than two.

    An object is what hangs together by faces within one class other than 0. Of M objects the second nearest is found by 2 log2
    M transforms: numbers of two objects differ in a bit, so that one transform a bit and value sees every other object.

    Shape:
        labels (*S); returns (*S).

    Source: Ronneberger et al. 2015, "U-Net", Eq. 2 (d1 + d2), arXiv:1505.04597.
    Deviations: objects are found in the labels, as these hold classes only: cells that touch are one object.
    """
    numbers, count = components(labels, without=(0, ignore_index))
    if count < 2:
        return np.full(labels.shape, np.inf, np.float32)
    where = _nearest(numbers == 0, spacing)
    nearest = numbers[tuple(where)] - 1  # from 0
    second = np.full(labels.shape, np.inf, np.float32)
    for bit in range((count - 1).bit_length()):
        for value in (0, 1):
            group = (numbers > 0) & (((numbers - 1) >> bit & 1) == value)
            np.minimum(second, _to_nearest(~group, spacing), out=second, where=nearest >> bit & 1 != value)
    return _lengths(where, spacing) + second


def made_by_loader(needs: frozenset[Need], device: str) -> frozenset[Need]:
    """Needs whose maps come with the batch. A card makes signed distances itself, faster than all cores beside it."""
    return needs - {"distance"} if device == "cuda" else needs


def signed_distances_of(
    labels: Tensor, *, num_classes: int, ignore_index: int, spacing: Sequence[float]
) -> Tensor:
    """``signed_distances`` of a batch, where its labels are; meant for a card.

    Shape:
        labels (N, *S) int64; returns (N, K, *S) float32.
    """
    classes = torch.arange(num_classes, device=labels.device).view(1, -1, *[1] * (labels.ndim - 1))
    inside = labels.unsqueeze(1) == classes
    outer = _to_nearest_of(inside.flatten(0, 1), tuple(spacing)).view(inside.shape)  # infinite where absent
    other = torch.where(inside, torch.inf, outer).amin(1, keepdim=True)
    space = tuple(range(2, inside.ndim))
    present = inside.any(dim=space, keepdim=True)
    counted = present & (present.sum(1, keepdim=True) > 1)
    return torch.where(counted, torch.where(inside, -other, outer), 0.0)


def prediction_maps(spacing: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """A function of masks (M, *S) bool that returns their signed distance maps (M, *S) float32 on the same device."""
    steps = tuple(spacing)

    def maps(masks: Tensor) -> Tensor:
        if masks.device.type == "cpu":
            return torch.from_numpy(np.stack([_of_mask(mask, steps) for mask in masks.numpy()]))
        return _of_masks(masks, steps)

    return maps


def _of_mask(mask: Mask, spacing: tuple[float, ...]) -> Map:
    found = np.zeros(mask.shape, np.float32)
    if mask.all() or not mask.any():
        return found
    outside, inside = _box(~mask), _box(mask)
    found[outside] = _to_nearest(~mask[outside], spacing)
    found[inside] -= _to_nearest(mask[inside], spacing)
    return found


def _of_masks(masks: Tensor, spacing: tuple[float, ...]) -> Tensor:
    space = tuple(range(1, masks.ndim))
    mixed = masks.any(dim=space) & ~masks.all(dim=space)
    distances = _to_nearest_of(masks, spacing) - _to_nearest_of(~masks, spacing)
    return torch.where(mixed.view(-1, *[1] * len(space)), distances, 0.0)


def _to_nearest_of(masks: Tensor, spacing: tuple[float, ...]) -> Tensor:
    """Distance to the nearest pixel of a mask: along the first axis by running extremes, then axis by axis over all pairs of a
    line, which is much work, but all at once on a card.
    """
    squared = _along_first_axis(masks, spacing[0]).square()
    for axis, step in enumerate(spacing[1:], start=2):
        lines = squared.movedim(axis, -1)
        shape, length = lines.shape, lines.shape[-1]
        place = torch.arange(length, device=masks.device, dtype=torch.float32) * step
        apart = (place[:, None] - place).square()  # (from, to)
        parts = torch.split(lines.reshape(-1, length), max(1, CHUNK // length**2))
        nearest = torch.cat([(part[:, :, None] + apart).amin(dim=1) for part in parts])
        squared = nearest.view(shape).movedim(-1, axis)
    return squared.sqrt()


def _along_first_axis(masks: Tensor, step: float) -> Tensor:
    """Distance along the first spatial axis to the nearest pixel of a mask, infinite where its line has none."""
    index = torch.arange(masks.shape[1], device=masks.device, dtype=torch.float32)
    index = index.view(1, -1, *[1] * (masks.ndim - 2))
    before = torch.where(masks, index, -torch.inf).cummax(1).values
    after = torch.where(masks, index, torch.inf).flip(1).cummin(1).values.flip(1)
    return torch.minimum(index - before, after - index) * step


def _box(mask: Mask) -> tuple[slice, ...]:
    """The box of a mask and one pixel around it: what is nearest outside the mask lies in it."""
    box = []
    for axis, size in enumerate(mask.shape):
        if mask.take(0, axis).any() and mask.take(-1, axis).any():
            box.append(slice(size))
            continue
        seen = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(max(0, int(seen[0]) - 1), min(size, int(seen[-1]) + 2)))
    return tuple(box)


def _to_nearest(away: Mask, spacing: tuple[float, ...]) -> Map:
    """Distance of each pixel to the nearest that is not ``away``, of which there must be one.

    Exact where pixels are as long as wide; else within some millionths, as lengths are summed in single precision.
    """
    unit = spacing[0] if len(set(spacing)) == 1 else 1.0
    steps = tuple(step / unit for step in spacing)
    found = cast(Map, edt.edt(np.ascontiguousarray(away), anisotropy=steps, parallel=1))
    return found if unit == 1 else found * np.float32(unit)


def _nearest(away: Mask, spacing: tuple[float, ...]) -> npt.NDArray[np.int32]:
    """Where the nearest pixel is that is not ``away``, (ndim, *S)."""
    return ndimage.distance_transform_edt(away, sampling=spacing, return_distances=False, return_indices=True)


def _lengths(where: npt.NDArray[np.int32], spacing: tuple[float, ...]) -> Map:
    squared: Any = np.float32(0)
    for axis, (index, step) in enumerate(zip(where, spacing, strict=True)):
        own = np.arange(index.shape[axis], dtype=np.int32).reshape(
            [-1 if a == axis else 1 for a in range(index.ndim)]
        )
        squared = squared + ((index - own).astype(np.float32) * np.float32(step)) ** 2
    return np.sqrt(cast(Map, squared))
