"""One pass through a network on the meta device: what it multiplies, and how far each logit sees.

Functions of torch are intercepted on the way, so that what a module computes without layers (attention, resizing) is
seen, too.

Receptive field: Araujo et al. 2019, "Computing receptive fields of convolutional neural networks", Distill.
Deviations: the first and the last pixel that a value depends on are followed instead of a size, for each place relative to the
deepest stride, as they differ by place; through any graph, the widest of a function's inputs counts; a product of two maps
(attention) and a mean over the image see the whole image; statistics of norms count nowhere, as is usual.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from search_spaces.layers import drop_norms_and_activations

WHOLE = math.inf


@dataclass(frozen=True, slots=True)
class Walk:
    """What a pass for one image found.

    Attributes:
        macs: Multiply-accumulates of convolutions, linear layers and products of maps.
        receptive_field: Pixels between the first and the last that a logit depends on, both included, in each dimension;
            the most of all logits, infinite where one depends on the whole image.
    """

    macs: int
    receptive_field: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """First and last pixel, in one dimension, that each value of a map depends on.

    The pattern repeats: value ``i`` sees ``period`` pixels further than value ``i - len(first)``.
    """

    first: tuple[float, ...]
    last: tuple[float, ...]
    period: int

    def window(self, places: Sequence[tuple[int, int]]) -> "Span":
        """The span of a map whose value ``i`` is made of the values ``places[i]``, both ends included."""
        first = tuple(_at(self.first, low, self.period) for low, _ in places)
        return Span(first, tuple(_at(self.last, high, self.period) for _, high in places), self.period)

    def size(self) -> float:
        """Pixels of the widest."""
        return max(high - low + 1 for low, high in zip(self.first, self.last, strict=True))


Spans = tuple[Span, ...]


def walk(network: nn.Module, image: tuple[int, ...], *, stride: int) -> Walk:
    """Follow one image through a network on the meta device, which the network is of no use after.

    Args:
        network: Of which norms and activations are taken out: they count nothing, but take most of the time.
        image: Channels and spatial size.
        stride: The deepest of the network.
    """
    drop_norms_and_activations(network)
    size = tuple(max(2, -(-length // stride)) * stride for length in image[1:])
    follower = _Follower(size, stride)
    with torch.device("meta"), torch.no_grad():
        x = torch.empty(1, image[0], *size)
        pixels = tuple(float(place) for place in range(stride))
        _see(x, (Span(pixels, pixels, stride),) * len(size))
        with follower:
            logits = network(x)
    spans = _seen(logits)
    assert spans is not None, "logits depend on the image"
    return Walk(follower.macs, tuple(span.size() for span in spans))


class _Follower(TorchFunctionMode):
    """Writes on each tensor which pixels of the image its values depend on."""

    def __init__(self, size: Sequence[int], stride: int) -> None:
        super().__init__()
        self.size = tuple(size)
        self.stride = stride
        self.macs = 0
        self.whole = (Span((-WHOLE,), (WHOLE,), stride),) * len(self.size)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = _shaped(getattr(func, "__name__", ""), args, kwargs)
        if result is None:
            result = func(*args, **kwargs)
        if not isinstance(result, Tensor | tuple | list):
            return result
        results = [value for value in _tensors(result) if _seen(value) is None]
        seen = (
            [spans for value in _tensors((args, kwargs)) if (spans := _seen(value)) is not None]
            if results
            else []
        )
        for value in results if seen else ():
            _see(value, self._after(getattr(func, "__name__", ""), args, kwargs, value, seen))
        return result

    def _after(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], y: Tensor, seen: list[Spans]
    ) -> Spans:
        x = args[0] if args and isinstance(args[0], Tensor) else y
        dims = len(self.size)
        if name in _CONVS:
            weight, transposed = args[1], name in _TRANSPOSED
            over = x if transposed else y
            self.macs += over.numel() * weight.shape[1] * math.prod(weight.shape[2:])
            kernel = tuple(weight.shape[2:])
            given = [_given(args, kwargs, place, key, dims) for place, key in _ARGUMENTS[transposed].items()]
            return self._moved(seen[0], y, _transposed if transposed else _slid, (kernel, *given))
        if name == "linear":
            self.macs += y.numel() * args[1].shape[1]
        if name in _PRODUCTS:
            self.macs += y.numel() * x.shape[-1]
            whole = len(seen) > 1 or x.dim() == len(self.size) + 2  # of two maps, or along a dimension of one
            return self.whole if whole else seen[0]
        if name in _POOLS:
            kernel = _given(args, kwargs, 1, "kernel_size", dims)
            step = _given(args, kwargs, 2, "stride", dims, default=kernel)
            pad = _given(args, kwargs, 3, "padding", dims, default=(0,) * dims)
            return self._moved(seen[0], y, _slid, (kernel, step, pad, (1,) * dims))
        if name == "interpolate":
            linear = kwargs.get("mode", args[3] if len(args) > 3 else "nearest") != "nearest"
            factor = tuple(b / a for a, b in zip(x.shape[2:], y.shape[2:], strict=True))
            return self._moved(seen[0], y, _resized, (factor, (linear,) * dims))
        if name.startswith("adaptive_"):
            return self.whole
        if name in _REDUCTIONS and x.dim() == dims + 2 and tuple(y.shape[2:]) != tuple(x.shape[2:]):
            return self.whole
        return tuple(map(_widest, zip(*seen, strict=True)))

    def _moved(
        self,
        spans: Spans,
        y: Tensor,
        rule: Callable[..., tuple[int, int]],
        arguments: tuple[tuple[Any, ...], ...],
    ) -> Spans:
        """The spans of ``y`` by a rule that says which values one of its values is made of."""
        moved = []
        for span, whole, length, *given in zip(spans, self.size, y.shape[2:], *arguments, strict=True):
            places = self.stride * int(length) / whole
            if math.isinf(span.last[0]) or places < 1 or places != int(places):
                moved.append(self.whole[0])
            else:
                moved.append(span.window([rule(place, *given) for place in range(int(places))]))
        return tuple(moved)


_ELEMENTWISE = {
    "add", "__add__", "__radd__", "sub", "__sub__", "__rsub__", "mul", "__mul__", "__rmul__", "div", "__truediv__", "maximum",
    "minimum", "sigmoid", "softmax", "exp", "tanh", "clamp", "where",
}  # fmt: skip


def _shaped(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The result of a function whose shape is easy to say; torch takes milliseconds to say it on the meta device."""
    if name in _ELEMENTWISE:
        shapes = [value.shape for value in args if isinstance(value, Tensor)]
        if not shapes or args[0] is None or not isinstance(args[0], Tensor):
            return None
        return args[0].new_empty(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]
    if name == "interpolate" and isinstance(args[0], Tensor):
        x = args[0]
        size = kwargs.get("size", args[1] if len(args) > 1 else None)
        if isinstance(size, int):
            size = (size,) * (x.dim() - 2)
        factor = kwargs.get("scale_factor", args[2] if len(args) > 2 else None)
        if size is None:
            factors = factor if isinstance(factor, tuple | list) else (factor,) * (x.dim() - 2)
            size = tuple(int(length * times) for length, times in zip(x.shape[2:], factors, strict=True))
        return x.new_empty((*x.shape[:2], *size))
    if name in ("conv2d", "conv3d") and not isinstance(args[4] if len(args) > 4 else None, str):
        x, weight = args[0], args[1]
        dims = weight.dim() - 2
        stride, padding, rate = (
            _given(args, kwargs, place, key, dims) for place, key in _ARGUMENTS[False].items()
        )
        size = tuple(
            (length + 2 * pad - step * (taps - 1) - 1) // jump + 1
            for length, taps, jump, pad, step in zip(
                x.shape[2:], weight.shape[2:], stride, padding, rate, strict=True
            )
        )
        return x.new_empty((x.shape[0], weight.shape[0], *size)) if min(size) > 0 else None
    return None


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
        return args[0] if args else (kwargs or {})["tensor"]


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


_CONVS = {"conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d"}
_TRANSPOSED = {"conv_transpose2d", "conv_transpose3d"}
_ARGUMENTS = {
    False: {3: "stride", 4: "padding", 5: "dilation"},
    True: {3: "stride", 4: "padding", 7: "dilation"},
}
_POOLS = {
    "max_pool2d", "max_pool3d", "avg_pool2d", "avg_pool3d", "_max_pool2d", "_max_pool3d",
    "max_pool2d_with_indices", "max_pool3d_with_indices",
}  # fmt: skip
_PRODUCTS = {"matmul", "bmm", "mm", "__matmul__"}
_REDUCTIONS = {"mean", "sum", "amax", "amin", "var", "std"}


def _slid(place: int, kernel: int, stride: int, padding: int, rate: int) -> tuple[int, int]:
    start = place * stride - padding
    return start, start + (kernel - 1) * rate


def _transposed(place: int, kernel: int, stride: int, padding: int, rate: int) -> tuple[int, int]:
    last = (place + padding) // stride
    return min(last, -(-(place + padding - rate * (kernel - 1)) // stride)), last


def _resized(place: int, factor: float, linear: bool) -> tuple[int, int]:
    if not linear:
        return int(place // factor), int(place // factor)
    source = (place + 0.5) / factor - 0.5
    return math.floor(source), math.ceil(source)


def _at(values: Sequence[float], place: int, period: int) -> float:
    turns, rest = divmod(place, len(values))
    return values[rest] + turns * period


def _widest(spans: tuple[Span, ...]) -> Span:
    if len({len(span.first) for span in spans}) > 1:  # one value for all places, from the whole image
        return Span((-WHOLE,), (WHOLE,), spans[0].period)
    first = tuple(map(min, zip(*(span.first for span in spans), strict=True)))
    return Span(first, tuple(map(max, zip(*(span.last for span in spans), strict=True))), spans[0].period)


def _given(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    place: int,
    key: str,
    dims: int,
    default: tuple[int, ...] = (),
) -> tuple[int, ...]:
    value = kwargs.get(key, args[place] if len(args) > place else None)
    if value is None or value == [] or value == ():
        return default or ((0,) if key == "padding" else (1,)) * dims
    if isinstance(value, int):
        return (value,) * dims
    parts = tuple(int(part) for part in value)
    return parts * dims if len(parts) == 1 else parts


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))


def _see(tensor: Tensor, spans: Spans) -> None:
    tensor._spans = spans  # type: ignore[attr-defined]  # tensors carry attributes


def _seen(tensor: Tensor) -> Spans | None:
    return getattr(tensor, "_spans", None)
