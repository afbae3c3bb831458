"""Boxes and masks of objects in tensors whose sizes do not depend on what is found.

So a network that finds objects can be counted without being computed, exported, and run on a batch at once. What is not found
is there with a score of 0.

Boxes are (x0, y0, x1, y1) in pixels; pixel ``c`` reaches from ``c`` to ``c + 1``. A batch of them has its best ones first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDS = 16  # of suppression; even
AT_ONCE = 10  # objects that are painted
OPEN = 0.01  # of a probability: log(p + OPEN) is finite, and steady where a mask fades out


@dataclass(frozen=True, slots=True)
class Canvas:
    """Maps of several strides below one another in one map, so that boxes of all sizes are pooled at once.

    Attributes:
        map: (N, C, H, W); each level is continued by one row and one column, as its border counts beyond its end.
        tops: First row of each level.
        strides: Image size over map size of each level.
    """

    map: Tensor
    tops: tuple[int, ...]
    strides: tuple[int, ...]

    @staticmethod
    def of(maps: Sequence[Tensor], strides: Sequence[int]) -> "Canvas":
        """The canvas of maps (N, C, *S), the finest and widest first."""
        width = maps[0].shape[-1] + 1
        rows, tops, top = [], [], 0
        for level in maps:
            whole = torch.cat([level, level[..., -1:]], dim=-1)
            whole = torch.cat([whole, whole[..., -1:, :]], dim=-2)
            rows.append(F.pad(whole, [0, width - whole.shape[-1], 0, 0]))
            tops.append(top)
            top += whole.shape[-2]
        return Canvas(torch.cat(rows, dim=-2), tuple(tops), tuple(strides))

    def places(self, boxes: Tensor, *, reach: float) -> Tensor:
        """Boxes of the image (M, 4) in pixels of the canvas.

        Args:
            reach: A box is looked at on the last level whose stride times ``reach`` is not above the root of its area.

        Source: Lin et al. 2017, "Feature pyramid networks for object detection", Eq. 1, arXiv:1612.03144: k0 = 4 is the level
            of stride 16, so that ``reach`` is 224 / 16.
        """
        side = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=0).sqrt()
        stride = torch.full_like(side, float(self.strides[0]))
        top = torch.full_like(side, float(self.tops[0]))
        for level in range(1, len(self.strides)):
            here = side >= reach * self.strides[level]
            stride = stride.masked_fill(here, float(self.strides[level]))
            top = top.masked_fill(here, float(self.tops[level]))
        nothing = torch.zeros_like(top)
        return boxes / stride.unsqueeze(1) + torch.stack([nothing, top, nothing, top], dim=1)


def clipped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) cut at the border of an image of this height and width."""
    columns, rows = boxes[..., 0::2].clamp(0, size[1]), boxes[..., 1::2].clamp(0, size[0])
    return torch.stack([columns[..., 0], rows[..., 0], columns[..., 1], rows[..., 1]], dim=-1)


def has_area(boxes: Tensor, least: float) -> Tensor:
    """Whether boxes (..., 4) are at least so wide and high, bool (...)."""
    return (boxes[..., 2] - boxes[..., 0] >= least) & (boxes[..., 3] - boxes[..., 1] >= least)


def covered(mask: Tensor, boxes: Tensor) -> Tensor:
    """Share of the pixels of boxes (M, 4) where a mask (H, W) is True, (M,); borders are rounded, 0 where nothing is left."""
    height, width = mask.shape
    sums = F.pad(mask.float().cumsum(0).cumsum(1), [1, 0, 1, 0])  # (H + 1, W + 1), of all before
    x0, x1 = boxes[:, 0::2].round().long().clamp(0, width).unbind(1)
    y0, y1 = boxes[:, 1::2].round().long().clamp(0, height).unbind(1)
    inside = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return inside / ((x1 - x0) * (y1 - y0)).clamp(min=1)


def taken(values: Tensor, places: Tensor) -> Tensor:
    """Rows (N, M, C) or numbers (N, M) of a batch, each at its own places (N, K)."""
    if values.dim() == 2:
        return values.gather(1, places)
    return values.gather(1, places.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def survivors(boxes: Tensor, alive: Tensor, limit: float, *, classes: Tensor | None = None) -> Tensor:
    """Non-maximum suppression: False where a better survivor overlaps by more than ``limit``.

    Args:
        boxes: Best first.
        alive: False where there is nothing.
        limit: Of intersection over union.
        classes: Boxes of two classes do not compete.

    Shape:
        boxes (N, P, 4); alive and classes (N, P); returns (N, P) bool.

    Deviations: all boxes of a batch are judged at once in ``ROUNDS`` rounds instead of one after another. The result is the
        same unless more than so many boxes suppress one another in a row; what is undecided then survives.
    """
    over = _overlaps(boxes) > limit
    if classes is not None:
        over = over & (classes.unsqueeze(2) == classes.unsqueeze(1))
    order = torch.arange(boxes.shape[1], device=boxes.device)
    over = over & (order.unsqueeze(0) < order.unsqueeze(1)) & alive.unsqueeze(1)  # (N, of, by)
    kept = alive
    for _ in range(ROUNDS):
        kept = ~(over & kept.unsqueeze(1)).any(dim=2)  # what is not alive suppresses nothing
    return alive & kept


def _overlaps(boxes: Tensor) -> Tensor:
    """Intersection over union of all pairs, (N, P, P), 0 where both are empty."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    wide = torch.minimum(x1.unsqueeze(2), x1.unsqueeze(1)) - torch.maximum(x0.unsqueeze(2), x0.unsqueeze(1))
    high = torch.minimum(y1.unsqueeze(2), y1.unsqueeze(1)) - torch.maximum(y0.unsqueeze(2), y0.unsqueeze(1))
    shared = wide.clamp(min=0) * high.clamp(min=0)
    area = (x1 - x0) * (y1 - y0)
    return shared / (area.unsqueeze(2) + area.unsqueeze(1) - shared).clamp(min=1e-9)


def painted(
    boxes: Tensor, scores: Tensor, classes: Tensor, masks: Tensor, *, size: tuple[int, int], num_classes: int
) -> Tensor:
    """Logits of the classes of each pixel, from objects.

    The probability p of a class is the greatest score times mask of its objects there, that of the background 1 minus the
    greatest of all; logits are log(p + ``OPEN``). A mask is interpolated between the centres of its cells and fades to 0 over
    one cell around its box.

    Args:
        boxes: Of objects.
        scores: Of each, 0 where there is none.
        classes: Of each, from 1.
        masks: Probability of each cell of a box.
        size: Height and width of the image.
        num_classes: Background included.

    Shape:
        boxes (N, D, 4); scores and classes (N, D); masks (N, D, M, M); returns (N, num_classes, *size).
    """
    rows = _weights(boxes[..., 1], boxes[..., 3], size[0], masks.shape[-1])
    columns = _weights(boxes[..., 0], boxes[..., 2], size[1], masks.shape[-1])
    found = boxes.new_zeros(boxes.shape[0], num_classes - 1, *size)
    for part in (slice(first, first + AT_ONCE) for first in range(0, boxes.shape[1], AT_ONCE)):
        values = scores[:, part, None, None] * masks[:, part]
        values = torch.matmul(torch.matmul(rows[:, part], values), columns[:, part].transpose(2, 3))
        kinds = (classes[:, part] - 1).unsqueeze(-1).unsqueeze(-1).expand(-1, -1, *size)
        found = found.scatter_reduce(1, kinds, values, "amax")
    background = 1 - found.amax(dim=1, keepdim=True)
    return (torch.cat([background, found], dim=1) + OPEN).log()


def _weights(first: Tensor, last: Tensor, length: int, cells: int) -> Tensor:
    """How much each cell of a box counts at each pixel of one dimension, (N, D, length, cells); linear between cells."""
    pixels = torch.arange(length, device=first.device, dtype=first.dtype) + 0.5
    scale = cells / (last - first).clamp(min=1e-3)
    at = (pixels - first.unsqueeze(-1)) * scale.unsqueeze(-1) - 0.5  # (N, D, length), in cells
    centres = torch.arange(cells, device=first.device, dtype=first.dtype)
    return (1 - (at.unsqueeze(-1) - centres).abs()).clamp(min=0)
