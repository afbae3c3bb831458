"""Class scores of a whole case from a network that takes windows of one size.

Every window has the size that the network was trained at, so that torch and ONNX see the same shapes. MONAI has a sliding
window too; importing it costs each process 6 to 10 s on a small machine, more than a whole search spends on windows.
"""

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from workers.batches import cut
from workers.contract import DataView
from workers.preprocessing import FloatArray

Network = Callable[[torch.Tensor], torch.Tensor]

OVERLAP = 0.5  # share of a window that the next one covers again (nnU-Net: 0.5)
SIGMA = 1 / 8  # deviation of the Gaussian weight over the window size (nnU-Net, MONAI: 0.125)


def case_scores(network: Network, image: FloatArray, view: DataView, *, num_classes: int) -> FloatArray:
    """Logits of a prepared case.

    A volume read as slices is predicted slice by slice. Where a case exceeds the window, overlapping windows are averaged
    with Gaussian weights; padding is cut off again.

    Args:
        network: Windows (N, C, *size) float32 to logits (N, K, *size).
        image: Prepared image.
        view: Window size, and whether a volume is read as slices.

    Shape:
        image (C, *S) float32; returns (K, *S) float32.
    """
    if view.view == "slices":
        planes = [image[..., depth] for depth in range(image.shape[-1])]
    else:
        planes = [image]
    shape = planes[0].shape[1:]
    starts = list(itertools.product(*(_starts(n, s) for n, s in zip(shape, view.size, strict=True))))
    windows = np.stack([cut(plane, view.size, start, fill=0) for plane in planes for start in starts])
    outputs = _run(network, windows.astype(np.float32), view.batch)
    if len(starts) == 1:
        scores = np.stack([_back(window, starts[0], shape) for window in outputs])
    else:
        scores = np.stack(
            [
                _blend(outputs[i * len(starts) : (i + 1) * len(starts)], starts, shape, num_classes)
                for i in range(len(planes))
            ]
        )
    return np.moveaxis(scores, 0, -1) if view.view == "slices" else scores[0]


def _run(network: Network, windows: FloatArray, batch: int) -> FloatArray:
    """Run in batches of one size: the last is filled up, as an exported network may have a fixed batch."""
    outputs = []
    for first in range(0, len(windows), batch):
        part = windows[first : first + batch]
        filled = np.concatenate([part, np.zeros((batch - len(part), *part.shape[1:]), np.float32)])
        outputs.append(network(torch.from_numpy(filled)).float().cpu().numpy()[: len(part)])
    return np.concatenate(outputs)


def _starts(length: int, size: int) -> list[int]:
    if length <= size:
        return [(length - size) // 2]
    count = int(np.ceil((length - size) / (size * (1 - OVERLAP)))) + 1
    return [round(i * (length - size) / (count - 1)) for i in range(count)]


def _back(window: FloatArray, start: tuple[int, ...], shape: tuple[int, ...]) -> FloatArray:
    return window[
        (slice(None), *(slice(-offset, n - offset) for offset, n in zip(start, shape, strict=True)))
    ]


def _blend(
    windows: FloatArray, starts: list[tuple[int, ...]], shape: tuple[int, ...], num_classes: int
) -> FloatArray:
    weight = _weight(windows.shape[2:])
    total = np.zeros((num_classes, *shape), np.float32)
    mass = np.zeros(shape, np.float32)
    for window, start in zip(windows, starts, strict=True):
        inside, of_case = [], []
        for offset, size, n in zip(start, windows.shape[2:], shape, strict=True):
            first, last = max(offset, 0), min(offset + size, n)
            of_case.append(slice(first, last))
            inside.append(slice(first - offset, last - offset))
        total[(slice(None), *of_case)] += window[(slice(None), *inside)] * weight[tuple(inside)]
        mass[tuple(of_case)] += weight[tuple(inside)]
    return total / mass


def _weight(size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    weight = np.ones((), np.float32)
    for n in size:
        line = np.exp(-0.5 * (((np.arange(n) - (n - 1) / 2) / (n * SIGMA)) ** 2)).astype(np.float32)
        weight = np.multiply.outer(weight, np.maximum(line, 1e-3))
    return weight
