"""Reversible residual blocks: what went in is computed from what came out, so nothing in between is kept for training.

Source: Gomez et al. 2017, "The reversible residual network: backpropagation without storing activations", Eq. 6 to 8 and
    Algorithm 1, arXiv:1707.04585.
Deviations: the two halves are summed in single precision where autocast is on, as rounding would add up on the way back.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from search_spaces.dense_block import before_conv
from search_spaces.layers import Layers, OwnStart


class ReversibleBlocks(nn.Module):
    """Blocks in a row; training keeps the last result of all of them.

    Args:
        channels: An even number.
        depth: Number of blocks, each with two 3-convolutions of half the channels.
    """

    def __init__(self, layers: Layers, channels: int, *, depth: int) -> None:
        super().__init__()
        half = channels // 2
        self.blocks = nn.ModuleList(
            nn.ModuleList(_residual(layers, half) for _ in range(2)) for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *S) -> the same."""
        if _autocast(x.device.type)[0]:
            x = x.float()
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return _forwards(self.blocks, x)
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        return cast(Tensor, _Reversed.apply(x, self.blocks, *weights))


class Lead(OwnStart):
    """A pointwise convolution to the channels of the next blocks, nothing after it; it starts as linear ones do."""

    def __init__(self, layers: Layers, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = layers.conv(in_channels, out_channels, kernel=1, bias=True)
        self.deviation = in_channels**-0.5

    def start(self) -> None:
        """Variance is kept, where He's start for rectified units doubles it."""
        for weight in self.conv.parameters():
            nn.init.normal_(weight, std=self.deviation) if weight.dim() > 1 else nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> (N, out_channels, *S)."""
        result: Tensor = self.conv(x)
        return result


def _residual(layers: Layers, channels: int) -> nn.Module:
    conv = layers.conv(channels, channels, kernel=3, bias=layers.bias)
    return before_conv(layers, channels).append(conv)


def _forwards(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=1)
    for f, g in cast("Iterator[nn.ModuleList]", blocks):
        first = first + f(second)
        second = second + g(first)
    return torch.cat([first, second], dim=1)


class _Reversed(torch.autograd.Function):
    """Blocks whose backward pass computes their activations again, from the last to the first."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, blocks: nn.ModuleList, *weights: Tensor) -> Tensor:
        """Keeps the result only."""
        y = _forwards(blocks, x)
        ctx.blocks, ctx.weights = blocks, weights
        ctx.kind, ctx.autocast = x.device.type, _autocast(x.device.type)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Algorithm 1; of a block ``y1 = x1 + F(x2), y2 = x2 + G(y1)``."""
        y1, y2 = (half.detach() for half in ctx.saved_tensors[0].chunk(2, dim=1))
        d1, d2 = gradients[0].chunk(2, dim=1)
        found: dict[Tensor, Tensor] = {}
        enabled, dtype = ctx.autocast
        again = torch.autocast(ctx.kind, dtype=dtype) if enabled else contextlib.nullcontext()
        with again, _statistics_kept(ctx.blocks):
            for f, g in reversed(ctx.blocks):
                y2, d1 = _undone(g, y1, y2, d1, d2, found)
                y1, d2 = _undone(f, y2, y1, d2, d1, found)
        return torch.cat([d1, d2], dim=1), None, *(found.get(weight) for weight in ctx.weights)


def _undone(
    residual: nn.Module,
    x: Tensor,
    total: Tensor,
    gradient_x: Tensor,
    gradient: Tensor,
    found: dict[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Undo ``total = before + residual(x)``.

    Returns:
        What was there before, and the gradient of x with its share through the residual.
    """
    weights = [weight for weight in residual.parameters() if weight.requires_grad]
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = residual(x)
    share, *shares = torch.autograd.grad(y, (x, *weights), gradient.to(y.dtype))
    found.update(zip(weights, shares, strict=True))
    return total - y.detach(), gradient_x + share


def _autocast(kind: str) -> tuple[bool, torch.dtype | None]:
    """Whether it is on for a kind of device, and its type."""
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return False, None
    return True, torch.get_autocast_dtype(kind)


@contextlib.contextmanager
def _statistics_kept(blocks: nn.Module) -> Iterator[None]:
    """A second pass does not count in the running statistics of norms."""
    norms = [module for module in blocks.modules() if getattr(module, "track_running_stats", False)]
    for norm in norms:
        norm.track_running_stats = False  # type: ignore[assignment]  # a module's field may be anything
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True  # type: ignore[assignment]  # a module's field may be anything
