"""Random changes of training samples, for one batch at once, in 2D and 3D."""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from search_spaces.recipe import Augmentation


def augment(
    images: Tensor,
    labels: Tensor,
    augmentation: Augmentation,
    *,
    generators: list[np.random.Generator],
    ignore_index: int,
) -> tuple[Tensor, Tensor]:
    """Rotate, zoom, and change intensity; flips are made where samples are cut, as they depend on the data set.

    What a rotation or zoom brings in from outside is 0 in the image and ignored in the labels. Each sample has its own
    generator, so that a change does not depend on the batch that the sample is in.

    Shape:
        images (N, C, *S) float32; labels (N, *S) int64; returns the same.
    """
    if augmentation.rotate_deg or augmentation.zoom:
        size = images.shape[2:]
        matrices = torch.from_numpy(np.stack([_matrix(augmentation, size, g) for g in generators]))
        grid = functional.affine_grid(matrices, [len(images), 1, *size], align_corners=False)
        images = functional.grid_sample(
            images, grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        shifted = (labels + 1).unsqueeze(1).to(images.dtype)  # 0 marks what comes from outside
        moved = functional.grid_sample(
            shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False
        )
        labels = moved.squeeze(1).round().to(torch.int64) - 1
        labels = torch.where(labels < 0, ignore_index, labels)
    if augmentation.intensity:
        changes = np.stack([_intensity(augmentation.intensity, images.shape[1], g) for g in generators])
        gain, offset = torch.from_numpy(changes).unbind(dim=1)  # (N, C) each
        spatial = (..., *([None] * (images.ndim - 2)))
        images = images * gain[spatial] + offset[spatial]
    if augmentation.noise:
        images = images + torch.from_numpy(
            np.stack([_noise(augmentation.noise, tuple(images.shape[1:]), g) for g in generators])
        )
    return images, labels


def _matrix(
    augmentation: Augmentation, size: torch.Size, generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Output-to-input map in the normalised (x, y[, z]) coordinates of ``affine_grid``; (ndim, ndim + 1)."""
    ndim = len(size)
    angle = math.radians(generator.uniform(-augmentation.rotate_deg, augmentation.rotate_deg))
    zoom = generator.uniform(1 - augmentation.zoom, 1 + augmentation.zoom)
    rotation = np.eye(ndim)
    # affine_grid counts axes from the last; the plane is the first two array axes, which a volume's slices have.
    first, second = ndim - 1, ndim - 2
    rotation[first, first] = rotation[second, second] = math.cos(angle)
    rotation[first, second], rotation[second, first] = math.sin(angle), -math.sin(angle)
    pixels = np.diag(
        [n / 2 for n in reversed(size)]
    )  # so that a rotation of a non-square image does not shear
    matrix = np.linalg.inv(pixels) @ rotation @ pixels / zoom
    return np.concatenate([matrix, np.zeros((ndim, 1))], axis=1).astype(np.float32)


def _intensity(strength: float, channels: int, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    gain = generator.uniform(1 - strength, 1 + strength, size=channels)
    offset = generator.uniform(-strength, strength, size=channels)
    return np.stack([gain, offset]).astype(np.float32)


def _noise(
    strength: float, shape: tuple[int, ...], generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    deviation = np.float32(generator.uniform(0, strength))
    return generator.standard_normal(shape, dtype=np.float32) * deviation
