"""Layers in two or three dimensions, with the norm and the activation that an architecture chose."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, assert_never, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["batch", "instance", "group", "none"]
Activation = Literal["relu", "leaky_relu", "silu", "elu", "prelu", "gelu"]
Padding = Literal["zeros", "reflect", "replicate"]
GROUPS = 8  # channels are shared among at most eight groups: widths of small networks are multiples of 8


class _DilatedDepthwise(nn.Conv2d):
    """A dilated depthwise convolution, in single precision on CPUs.

    In bfloat16 and channels-last layout oneDNN reads memory that is not its own there (torch 2.14.1, CPUs with AVX-512 BF16):
    gradients become random, infinite or not a number, and now and then the process dies.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.is_cuda or not torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float())


class _MeanPool3d(nn.AvgPool3d):
    """Means over a padded kernel, also of maps that are smaller than it, which torch refuses in three dimensions."""

    def forward(self, input: Tensor) -> Tensor:
        kernel, border = cast(int, self.kernel_size), cast(int, self.padding)
        if min(input.shape[2:]) >= kernel:
            return super().forward(input)
        padded = (F.pad(x, [border] * 6) for x in (input, torch.ones_like(input[:1, :1])))
        total, counted = (F.avg_pool3d(x, kernel, self.stride) for x in padded)
        return total / counted


_CONV: dict[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.ConvTranspose2d | nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
NORMS: tuple[type[nn.Module], ...] = (
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
)
ACTIVATIONS: tuple[type[nn.Module], ...] = (nn.ReLU, nn.LeakyReLU, nn.SiLU, nn.ELU, nn.PReLU, nn.GELU)
"""What ``Layers.normalise`` and ``Layers.activate`` make; modules of a plug-in are not among them."""
_BATCH: dict[int, type[nn.BatchNorm2d | nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE: dict[int, type[nn.InstanceNorm2d | nn.InstanceNorm3d]] = {
    2: nn.InstanceNorm2d,
    3: nn.InstanceNorm3d,
}
_MAX_POOL: dict[int, type[nn.MaxPool2d | nn.MaxPool3d]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_MEAN_POOL: dict[int, type[nn.AvgPool2d | nn.AvgPool3d]] = {2: nn.AvgPool2d, 3: _MeanPool3d}


@dataclass(frozen=True, slots=True)
class Layers:
    """Makes the layers of one network.

    Attributes:
        ndim: Spatial dimensions, 2 or 3.
        norm: Normalisation after each convolution.
        activation: Non-linearity after each normalisation.
        conv_bias: Whether convolutions keep their bias where a norm follows, which takes it away again; known systems
            have such idle parameters.
        padding: What is around an image of features.
        pool_indices: Whether max-pooling returns the places of the maxima, too.
    """

    ndim: int
    norm: Norm = "batch"
    activation: Activation = "relu"
    conv_bias: bool = False
    padding: Padding = "zeros"
    pool_indices: bool = False

    def conv(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int | tuple[int, ...],
        rate: int | tuple[int, ...] = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> nn.Module:
        """A convolution that keeps the size at stride 1; ``kernel`` is odd, one for all dimensions or one for each."""
        kernels, rates = self._each(kernel), self._each(rate)
        padding = tuple(r * (k - 1) // 2 for k, r in zip(kernels, rates, strict=True))
        kind = _CONV[self.ndim]
        if self.ndim == 2 and max(rates) > 1 and groups == in_channels > 1:
            kind = _DilatedDepthwise
        return kind(
            in_channels,
            out_channels,
            kernels,  # type: ignore[arg-type]  # as many as there are dimensions
            stride,
            padding,  # type: ignore[arg-type]  # as many, too
            dilation=rates,  # type: ignore[arg-type]  # as many, too
            groups=groups,
            bias=bias,
            padding_mode=self.padding,
        )

    def _each(self, value: int | tuple[int, ...]) -> tuple[int, ...]:
        return (value,) * self.ndim if isinstance(value, int) else value

    @property
    def bias(self) -> bool:
        """Whether a convolution before the norm has a bias."""
        return self.conv_bias or self.norm == "none"

    def conv_block(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int | tuple[int, ...],
        rate: int | tuple[int, ...] = 1,
        stride: int = 1,
        groups: int = 1,
    ) -> nn.Sequential:
        """Convolution, normalisation, activation."""
        conv = self.conv(
            in_channels,
            out_channels,
            kernel=kernel,
            rate=rate,
            stride=stride,
            groups=groups,
            bias=self.bias,
        )
        return nn.Sequential(conv, self.normalise(out_channels), self.activate(out_channels))

    def projection(self, in_channels: int, out_channels: int) -> nn.Module:
        """Nothing where channels agree, else a pointwise convolution with normalisation."""
        if in_channels == out_channels:
            return nn.Identity()
        conv = self.conv(in_channels, out_channels, kernel=1, bias=self.bias)
        return nn.Sequential(conv, self.normalise(out_channels))

    def transposed(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 2,
        rate: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> nn.Module:
        """A transposed convolution that doubles the size; ``kernel`` is at least 2, and odd where the rate is above 1."""
        padding = rate * (kernel - 1) // 2
        return _TRANSPOSED[self.ndim](
            in_channels,
            out_channels,
            kernel,
            2,
            padding,
            output_padding=kernel % 2,
            groups=groups,
            bias=bias,
            dilation=rate,
        )

    def max_pool(self) -> nn.Module:
        """Halves the size; returns the places of the maxima, too, where they are asked for."""
        return _MAX_POOL[self.ndim](2, return_indices=self.pool_indices)

    def halve(self, kind: Literal["max", "mean"]) -> nn.Module:
        """Halves the size by the maximum or the mean of two pixels a dimension."""
        return _MAX_POOL[self.ndim](2) if kind == "max" else _MEAN_POOL[self.ndim](2)

    def pool(self, kind: Literal["max", "mean"], kernel: int, *, stride: int = 1) -> nn.Module:
        """The maximum or the mean over an odd kernel around each pixel; what is beyond the border does not count."""
        if kind == "max":
            return _MAX_POOL[self.ndim](kernel, stride, kernel // 2)
        return _MEAN_POOL[self.ndim](kernel, stride, kernel // 2, count_include_pad=False)

    def dropout(self, share: float) -> nn.Module:
        """Drops whole channels in training."""
        return nn.Dropout2d(share) if self.ndim == 2 else nn.Dropout3d(share)

    def normalise(self, channels: int) -> nn.Module:
        """The chosen norm."""
        match self.norm:
            case "batch":
                return _BATCH[self.ndim](channels)
            case "instance":
                return _INSTANCE[self.ndim](channels, affine=True)
            case "group":
                return nn.GroupNorm(math.gcd(GROUPS, channels), channels)
            case "none":
                return nn.Identity()
        assert_never(self.norm)

    def activate(self, channels: int = 1, *, inplace: bool = True) -> nn.Module:
        """The chosen activation; where it is learned, one slope for each of ``channels``.

        Args:
            inplace: Whether what goes in may be overwritten; not where it is used a second time.
        """
        match self.activation:
            case "relu":
                return nn.ReLU(inplace=inplace)
            case "leaky_relu":
                return nn.LeakyReLU(0.01, inplace=inplace)
            case "silu":
                return nn.SiLU(inplace=inplace)
            case "elu":
                return nn.ELU(inplace=inplace)
            case "prelu":
                return nn.PReLU(channels)
            case "gelu":
                return nn.GELU()
        assert_never(self.activation)


class OwnStart(nn.Module, ABC):
    """A module some of whose weights do not start as those of other convolutions."""

    @abstractmethod
    def start(self) -> None:
        """Set them; called after all within it have started as usual."""


class Pretrained(nn.Module, ABC):
    """A module that can take over weights from elsewhere."""

    @abstractmethod
    def load(self) -> None:
        """Take them over; called when a new network has started, not when its own weights follow."""


class Resize(nn.Module):
    """Bilinear or trilinear interpolation by a whole factor."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *S) -> (N, C, *(factor * S))."""
        return resize(x, tuple(self.factor * size for size in x.shape[2:]))


def resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Interpolate (N, C, *S) linearly to (N, C, *size), corners not aligned."""
    if tuple(x.shape[2:]) == size:
        return x
    mode = "bilinear" if x.dim() == 4 else "trilinear"
    return F.interpolate(x, size=size, mode=mode, align_corners=False)


def drop_norms_and_activations(network: nn.Module) -> None:
    """Put nothing in their places; all of them keep the shape of what goes through."""
    dropped, nothing = (*NORMS, *ACTIVATIONS), nn.Identity()
    for module in list(network.modules()):
        for name, child in module._modules.items():
            if isinstance(child, dropped):
                module._modules[name] = nothing
