"""Random changes of training samples, one at a time, in 2D and 3D."""

import math
from functools import reduce

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from search_spaces.recipe import Augmentation

FloatArray = npt.NDArray[np.float32]


def augment(
    image: Tensor,
    labels: Tensor,
    augmentation: Augmentation,
    *,
    generator: np.random.Generator,
    ignore_index: int,
    repeats: int = 1,
) -> tuple[Tensor, Tensor]:
    """Rotate, zoom, and change intensity; flips are made where samples are cut, as they depend on the data set.

    What a rotation or zoom brings in from outside is 0 in the image and ignored in the labels. A sample is changed by
    itself, with a generator of its own, so that the batch that it is in does not matter. What is needed in between is
    then small enough to stay in the processor's cache, and in memory that the process has already.

    Args:
        image: The channels of ``repeats`` slices in turn.
        labels: Of its pixels.
        augmentation: What may happen.
        generator: Where chance comes from.
        ignore_index: Label of what comes from outside.
        repeats: Slices in the image; a channel has one gain and one offset in all of them.

    Shape:
        image (C, *S) float32; labels (*S) of any whole numbers; returns (C, *S) float32 and (*S) int64.
    """
    if augmentation.rotate_deg or augmentation.zoom:
        size = labels.shape
        grid = torch.from_numpy(_grid(_matrix(augmentation, size, generator), size))[None]
        image = _sampled(image[None], grid, "bilinear")[0]
        marked = labels.to(torch.float32).add_(1)  # 0 marks what comes from outside
        labels = _sampled(marked[None, None], grid, "nearest")[0, 0].to(torch.int64).sub_(1)
        labels.masked_fill_(labels < 0, ignore_index)
    spatial = (..., *([None] * labels.ndim))
    if augmentation.intensity:
        gain, offset = torch.from_numpy(
            np.tile(_intensity(augmentation.intensity, len(image) // repeats, generator), repeats)
        )  # (C,) each
        image = torch.mul(image, gain[spatial]).add_(offset[spatial])
    if augmentation.noise:
        image = image + torch.from_numpy(_noise(augmentation.noise, tuple(image.shape), generator))
    return image, labels.to(torch.int64)


def _sampled(values: Tensor, grid: Tensor, mode: str) -> Tensor:
    return functional.grid_sample(values, grid, mode=mode, padding_mode="zeros", align_corners=False)


def _matrix(augmentation: Augmentation, size: torch.Size, generator: np.random.Generator) -> FloatArray:
    """Output-to-input map in the normalised (x, y[, z]) coordinates of ``grid_sample``, (ndim, ndim)."""
    ndim = len(size)
    angle = math.radians(generator.uniform(-augmentation.rotate_deg, augmentation.rotate_deg))
    zoom = generator.uniform(1 - augmentation.zoom, 1 + augmentation.zoom)
    rotation = np.eye(ndim)
    # grid_sample counts axes from the last; the plane is the first two array axes, which a volume's slices have.
    first, second = ndim - 1, ndim - 2
    rotation[first, first] = rotation[second, second] = math.cos(angle)
    rotation[first, second], rotation[second, first] = math.sin(angle), -math.sin(angle)
    pixels = np.diag(
        [n / 2 for n in reversed(size)]
    )  # so that a rotation of a non-square image does not shear
    matrix: FloatArray = (np.linalg.inv(pixels) @ rotation @ pixels / zoom).astype(np.float32)
    return matrix


def _grid(matrix: FloatArray, size: torch.Size) -> FloatArray:
    """Where each pixel comes from, (*size, ndim): ``affine_grid`` in a sixth of its time.

    A rotation in a plane maps each coordinate from two others at most, so a sum of rows and columns takes the place of a
    product of matrices.
    """
    ndim = len(size)
    grid = np.empty((*size, ndim), np.float32)
    for target in range(ndim):
        terms = []
        for source in np.flatnonzero(matrix[target]).tolist():
            axis = ndim - 1 - source
            shape = [1] * ndim
            shape[axis] = -1
            terms.append((matrix[target, source] * _centres(size[axis])).reshape(shape))
        grid[..., target] = reduce(np.add, terms)
    return grid


def _centres(count: int) -> FloatArray:
    """Normalised coordinates of the pixels along an axis, between -1 and 1, as ``affine_grid`` has them."""
    values: FloatArray = (torch.linspace(-1, 1, count) * (count - 1) / count).numpy()
    return values if count > 1 else np.zeros_like(values)


def _intensity(strength: float, channels: int, generator: np.random.Generator) -> FloatArray:
    gain = generator.uniform(1 - strength, 1 + strength, size=channels)
    offset = generator.uniform(-strength, strength, size=channels)
    return np.stack([gain, offset]).astype(np.float32)


def _noise(strength: float, shape: tuple[int, ...], generator: np.random.Generator) -> FloatArray:
    deviation = np.float32(generator.uniform(0, strength))
    noise = generator.standard_normal(shape, dtype=np.float32)
    noise *= deviation
    return noise
