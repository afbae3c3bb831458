"""Shapes of results on the meta device, of functions for which they are easy to say and torch takes long to say them."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Arguments = tuple[Any, ...]
Options = dict[str, Any]

ELEMENTWISE = {
    "add", "__add__", "__radd__", "sub", "__sub__", "__rsub__", "mul", "__mul__", "__rmul__", "div", "__truediv__", "maximum",
    "minimum", "sigmoid", "softmax", "exp", "tanh", "clamp", "where", "__floordiv__", "neg", "pow",
}  # fmt: skip
COMPARISONS = {"ge", "gt", "le", "lt", "eq", "__ge__", "__gt__", "__le__", "__lt__", "__eq__", "__and__"}
PLACES = {
    False: {"stride": 3, "padding": 4, "dilation": 5},
    True: {"stride": 3, "padding": 4, "dilation": 7},
}
"""Of arguments of convolutions, plain and transposed."""


def shaped(name: str, args: Arguments, kwargs: Options) -> Tensor | None:
    """The result of a function of torch; None where torch is to say it."""
    rule = _RULES.get(name)
    if rule is None or not args or not isinstance(args[0], Tensor | tuple | list):
        return None
    return rule(args, kwargs)


def given(
    args: Arguments, kwargs: Options, place: int, key: str, dims: int, default: tuple[int, ...] = ()
) -> tuple[int, ...]:
    """An argument that is a number or one for each dimension, as the latter."""
    value = args[place] if len(args) > place else kwargs.get(key)
    if type(value) is tuple and len(value) == dims:
        return value
    if value is None or value == [] or value == ():
        return default or ((0,) if key == "padding" else (1,)) * dims
    if isinstance(value, int):
        return (value,) * dims
    parts = tuple(int(part) for part in value)
    return parts * dims if len(parts) == 1 else parts


def moves(
    args: Arguments, kwargs: Options, kernel: Sequence[int], *, transposed: bool
) -> list[tuple[int, ...]]:
    """Stride, padding and rate of a convolution in each dimension; of an even kernel's ``same`` the padding in front."""
    places, dims = PLACES[transposed], len(kernel)
    stride, rate = (given(args, kwargs, places[key], key, dims) for key in ("stride", "dilation"))
    padding = _padding(args, kwargs)
    if isinstance(padding, str):
        same = tuple(step * (taps - 1) // 2 for taps, step in zip(kernel, rate, strict=True))
        return [stride, same if padding == "same" else (0,) * dims, rate]
    return [stride, given(args, kwargs, places["padding"], "padding", dims), rate]


def _padding(args: Arguments, kwargs: Options) -> Any:
    return args[4] if len(args) > 4 else kwargs.get("padding")


def _elementwise(args: Arguments, kwargs: Options) -> Tensor | None:
    first = args[0]
    if not isinstance(first, Tensor) or kwargs.get("out") is not None:
        return None
    return _empty(first, _broadcast(args))


def _compared(args: Arguments, kwargs: Options) -> Tensor | None:
    first = args[0]
    if not isinstance(first, Tensor) or kwargs.get("out") is not None:
        return None
    return first.new_empty(_broadcast(args), dtype=torch.bool)


def _broadcast(args: Arguments) -> Sequence[int]:
    shapes = [value.shape for value in args if isinstance(value, Tensor)]
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    return _broadcasted(tuple(shapes))


@functools.lru_cache(maxsize=4096)
def _broadcasted(shapes: tuple[torch.Size, ...]) -> torch.Size:
    return torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call,no-any-return]  # torch has no annotation there


def _resized(args: Arguments, kwargs: Options) -> Tensor | None:
    x = args[0]
    size = kwargs.get("size", args[1] if len(args) > 1 else None)
    if isinstance(size, int):
        size = (size,) * (x.dim() - 2)
    factor = kwargs.get("scale_factor", args[2] if len(args) > 2 else None)
    if size is None:
        factors = factor if isinstance(factor, tuple | list) else (factor,) * (x.dim() - 2)
        size = tuple(int(length * times) for length, times in zip(x.shape[2:], factors, strict=True))
    return _empty(x, (*x.shape[:2], *size))


def _convolved(args: Arguments, kwargs: Options) -> Tensor | None:
    x, weight = args[0], args[1]
    if isinstance(_padding(args, kwargs), str):
        return None
    found, kernel = x.shape, weight.shape
    if found[1] != kernel[1] * (args[6] if len(args) > 6 else kwargs.get("groups", 1)):
        return None
    stride, padding, rate = moves(args, kwargs, kernel[2:], transposed=False)
    size = _slid(found[2:], kernel[2:], stride, padding, rate)
    return _empty(x, (found[0], kernel[0], *size)) if min(size) > 0 else None


@functools.lru_cache(maxsize=4096)
def _slid(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    rate: tuple[int, ...],
) -> tuple[int, ...]:
    return tuple(
        (length + 2 * pad - step * (taps - 1) - 1) // jump + 1
        for length, taps, jump, pad, step in zip(size, kernel, stride, padding, rate, strict=True)
    )


def _padded(args: Arguments, kwargs: Options) -> Tensor | None:
    x = args[0]
    pads = args[1] if len(args) > 1 else kwargs["pad"]
    size = list(x.shape)
    for place in range(len(pads) // 2):
        size[-1 - place] += pads[2 * place] + pads[2 * place + 1]
    return _empty(x, size)


def _joined(args: Arguments, kwargs: Options) -> Tensor | None:
    parts, dim = args[0], args[1] if len(args) > 1 else kwargs.get("dim", 0)
    if kwargs.get("out") is not None or not all(isinstance(part, Tensor) for part in parts):
        return None
    size = list(parts[0].shape)
    shapes = [list(part.shape) for part in parts]
    size[dim] = 0
    for shape in shapes:
        total, shape[dim] = size[dim] + shape[dim], size[dim]
        if shape != size:
            return None
        size[dim] = total
    return _empty(parts[0], size)


def _averaged(args: Arguments, kwargs: Options) -> Tensor | None:
    x, dims = args[0], args[1] if len(args) > 1 else kwargs.get("dim")
    if dims is None or not kwargs.get("keepdim", len(args) > 2 and args[2]):
        return None
    size = list(x.shape)
    for dim in (dims,) if isinstance(dims, int) else dims:
        size[dim] = 1
    return _empty(x, size)


def _linear(args: Arguments, kwargs: Options) -> Tensor | None:
    size, weight = args[0].shape, args[1].shape
    return _empty(args[0], (*size[:-1], weight[0])) if size[-1] == weight[1] else None


def _empty(like: Tensor, size: Sequence[int]) -> Tensor:
    return like.new_empty(size)


_RULES: dict[str, Callable[[Arguments, Options], Tensor | None]] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(COMPARISONS, _compared),
    "interpolate": _resized,
    "conv2d": _convolved,
    "conv3d": _convolved,
    "pad": _padded,
    "cat": _joined,
    "mean": _averaged,
    "linear": _linear,
}
