"""Layers of a network that is counted and never computed: each is made once, and copied wherever it is needed again."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from search_spaces.layers import Layers

KNOWN = 16_384  # layers that are remembered; some kilobytes each


@dataclass(frozen=True, slots=True)
class CountedLayers(Layers):
    """The same layers on the meta device; norms, activations and dropout have their parameters and do nothing.

    To copy a module takes a tenth of the time of making one. A copy has parameters of its own, so that what is tied in a
    network is tied, what is not is not, and both are counted as usual.
    """

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
        return _copy(_conv(self, in_channels, out_channels, kernel, rate, stride, groups, bias))

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
        return _copy(_transposed(self, in_channels, out_channels, kernel, rate, groups, bias))

    def dropout(self, share: float) -> nn.Module:
        return NOTHING

    def normalise(self, channels: int) -> nn.Module:
        return NOTHING if self.norm == "none" else _copy(_norm(self, channels))

    def activate(self, channels: int = 1, *, inplace: bool = True) -> nn.Module:
        return _copy(_activation(self, channels)) if self.activation == "prelu" else NOTHING


class Idle(nn.Module):
    """Parameters without a use.

    Shape:
        Any; returns what it was given.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x


NOTHING = Idle()


@functools.lru_cache(maxsize=KNOWN)
def _conv(
    layers: Layers,
    in_channels: int,
    out_channels: int,
    kernel: int | tuple[int, ...],
    rate: int | tuple[int, ...],
    stride: int,
    groups: int,
    bias: bool,
) -> nn.Module:
    with torch.device("meta"), Unfilled():
        return Layers.conv(
            layers,
            in_channels,
            out_channels,
            kernel=kernel,
            rate=rate,
            stride=stride,
            groups=groups,
            bias=bias,
        )


@functools.lru_cache(maxsize=KNOWN)
def _transposed(
    layers: Layers, in_channels: int, out_channels: int, kernel: int, rate: int, groups: int, bias: bool
) -> nn.Module:
    with torch.device("meta"), Unfilled():
        return Layers.transposed(
            layers, in_channels, out_channels, kernel=kernel, rate=rate, groups=groups, bias=bias
        )


@functools.lru_cache(maxsize=KNOWN)
def _norm(layers: Layers, channels: int) -> nn.Module:
    with torch.device("meta"), Unfilled():
        return _idle(Layers.normalise(layers, channels))


@functools.lru_cache(maxsize=KNOWN)
def _activation(layers: Layers, channels: int) -> nn.Module:
    with torch.device("meta"), Unfilled():
        return _idle(Layers.activate(layers, channels))


def _idle(module: nn.Module) -> nn.Module:
    idle = Idle()
    for name, weight in module.named_parameters(recurse=False):
        idle.register_parameter(name, weight)
    return idle


def _copy(module: nn.Module) -> nn.Module:
    """Another module like one without children; its parameters are others, on the same storage."""
    twin: nn.Module = object.__new__(type(module))
    state = vars(module).copy()
    for name, value in state.items():
        if isinstance(value, dict):  # of parameters, buffers, children, hooks; most are empty
            state[name] = value.copy() if value else type(value)()
    weights = state["_parameters"]
    for name, weight in weights.items():
        if weight is not None:
            weights[name] = nn.Parameter(weight)
    vars(twin).update(state)
    return twin


class Unfilled(TorchFunctionMode):
    """Leaves new tensors as they are: on the meta device there is nothing to fill, and saying so takes time."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func.__name__ not in _FILLING:
            return func(*args, **(kwargs or {}))
        filled: Tensor = args[0] if args else (kwargs or {})["tensor"]
        return filled


_FILLING = {
    "uniform_",
    "normal_",
    "zero_",
    "fill_",
    "kaiming_uniform_",
    "kaiming_normal_",
    "ones_",
    "zeros_",
    "constant_",
}
