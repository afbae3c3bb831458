"""Class scores of a whole case from a network that takes windows of one size.

Every window has the size that the network was trained at, so that torch and ONNX see the same shapes. MONAI has a sliding
window too; importing it costs each process 6 to 10 s on a small machine, more than a whole search spends on windows.
"""

import itertools
from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from workers.batches import cut_all
from workers.contract import DataView
from workers.preprocessing import FloatArray

Network = Callable[[torch.Tensor], torch.Tensor]

OVERLAP = 0.5  # share of a window that the next one covers again (nnU-Net: 0.5)
SIGMA = 1 / 8  # deviation of the Gaussian weight over the window size (nnU-Net, MONAI: 0.125)


def case_scores(network: Network, image: FloatArray, view: DataView, *, num_classes: int) -> FloatArray:
    """Logits of a prepared case.

    A volume read as slices is predicted slice by slice. Where a case exceeds the window, overlapping windows are averaged
    with Gaussian weights, as they come, so that memory holds one batch of them; padding is cut off again.

    Args:
        network: Windows (N, ``view.num_inputs(C)``, *size) float32 to logits (N, K, *size).
        image: Prepared image.
        view: Window size, and whether a volume is read as slices, and with how many beside each.

    Shape:
        image (C, *S) float32; returns (K, *S) float32.
    """
    planes = np.moveaxis(image, -1, 0) if view.view == "slices" else image[None]  # (P, C, *shape)
    shape = planes.shape[2:]
    starts = list(itertools.product(*(_starts(n, s) for n, s in zip(shape, view.size, strict=True))))
    weight = _weight(view.size) if len(starts) > 1 else np.ones(view.size, np.float32)
    scores = np.zeros((len(planes), num_classes, *shape), np.float32)
    places = list(itertools.product(range(len(planes)), starts))
    for first in range(0, len(places), view.batch):
        part = places[first : first + view.batch]
        windows = np.stack([_window(planes, plane, start, view) for plane, start in part])
        for (plane, start), output in zip(part, _run(network, windows, view.batch), strict=True):
            of_case, inside = _overlap(start, view.size, shape)
            scores[plane][(slice(None), *of_case)] += output[(slice(None), *inside)] * weight[inside]
    mass = np.zeros(shape, np.float32)
    for start in starts:
        of_case, inside = _overlap(start, view.size, shape)
        mass[of_case] += weight[inside]
    scores /= mass
    return np.moveaxis(scores, 0, -1) if view.view == "slices" else scores[0]


def _window(planes: FloatArray, plane: int, start: tuple[int, ...], view: DataView) -> FloatArray:
    """What the network sees of a plane, with those beside it."""
    seen = view.seen_with(plane, len(planes))
    return cut_all([planes[near] for near in seen], view.size, start)


def _run(network: Network, windows: FloatArray, batch: int) -> FloatArray:
    """Run one batch, filled up to its full size, as an exported network may have a fixed batch."""
    filled = np.zeros((batch, *windows.shape[1:]), np.float32)
    filled[: len(windows)] = windows
    return cast(FloatArray, network(torch.from_numpy(filled)).float().cpu().numpy()[: len(windows)])


def _starts(length: int, size: int) -> list[int]:
    if length <= size:
        return [(length - size) // 2]
    count = int(np.ceil((length - size) / (size * (1 - OVERLAP)))) + 1
    return [round(i * (length - size) / (count - 1)) for i in range(count)]


def _overlap(
    start: tuple[int, ...], size: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a window and a case overlap: in the case, and in the window, which may reach outside."""
    of_case, inside = [], []
    for offset, length, n in zip(start, size, shape, strict=True):
        first, last = max(offset, 0), min(offset + length, n)
        of_case.append(slice(first, last))
        inside.append(slice(first - offset, last - offset))
    return tuple(of_case), tuple(inside)


def _weight(size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    weight = np.ones((), np.float32)
    for n in size:
        line = np.exp(-0.5 * (((np.arange(n) - (n - 1) / 2) / (n * SIGMA)) ** 2)).astype(np.float32)
        weight = np.multiply.outer(weight, np.maximum(line, 1e-3))
    return weight
