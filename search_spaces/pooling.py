"""Means over whole images and over grids of them, in two or three dimensions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.layers import Layers


def image_mean(x: Tensor) -> Tensor:
    """(N, C, *S) -> (N, C, 1, ...)."""
    return x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


def grid_mean(x: Tensor, grid: Sequence[int]) -> Tensor:
    """Means over the cells of a grid; cells overlap where the size is no multiple of the grid.

    The same numbers as torch's adaptive average pooling, but a gradient that is summed in a fixed order on every device,
    and no size that cannot be exported: images whose size is a multiple of the grid are pooled by cells, others take one
    small matrix product a dimension.

    Shape:
        (N, C, *S) -> (N, C, *grid).
    """
    size = x.shape[2:]
    if len(size) == 2 and all(n % cells == 0 for n, cells in zip(size, grid, strict=True)):
        return F.avg_pool2d(x, [n // cells for n, cells in zip(size, grid, strict=True)])
    for dim, cells in enumerate(grid, start=2):
        if cells == 1:
            x = x.mean(dim, keepdim=True)
        elif cells != x.shape[dim]:
            x = (x.transpose(dim, -1) @ _shares(x, int(x.shape[dim]), cells)).transpose(dim, -1)
    return x


def _shares(x: Tensor, size: int, cells: int) -> Tensor:
    """What each pixel gives to each cell, (size, cells)."""
    cell = torch.arange(cells, device=x.device)
    first, last = cell * size // cells, -(-(cell + 1) * size // cells)
    pixel = torch.arange(size, device=x.device).unsqueeze(1)
    inside = (pixel >= first) & (pixel < last)
    return inside.to(x.dtype) / (last - first)


def pooled_block(
    layers: Layers, in_channels: int, out_channels: int, *, activate: bool = True
) -> nn.Sequential:
    """Pointwise convolution, normalisation, activation of features that have one value a channel.

    Where the norm is not batch normalisation, a bias stands in its place: those of one image are not defined for one
    value.
    """
    batch = layers.norm == "batch"
    conv = layers.conv(in_channels, out_channels, kernel=1, bias=layers.conv_bias or not batch)
    norm = PooledBatchNorm(out_channels) if batch else nn.Identity()
    return nn.Sequential(conv, norm, layers.activate(out_channels) if activate else nn.Identity())


class PooledBatchNorm(nn.BatchNorm2d):
    """Batch normalisation of (N, C, 1, ...); a batch of one image is normalised by the running statistics."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Two or three dimensions."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, 1, ...) -> the same shape."""
        if self.training and input.shape[0] == 1:
            return F.batch_norm(
                input,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                training=False,
                eps=self.eps,
            )
        return super().forward(input)
