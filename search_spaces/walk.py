"""One pass through a network on the meta device: what it multiplies, and how far each logit sees.

Functions of torch are intercepted on the way, so that what a module computes without layers (attention, resizing) is
seen, too.

Receptive field: Araujo et al. 2019, "Computing receptive fields of convolutional neural networks", Distill.
Deviations: the first and the last pixel that a value depends on are followed instead of a size, for each place relative to the
deepest stride, as they differ by place; through any graph, the widest of a function's inputs counts; a product of two maps
(attention) and a mean over the image see the whole image; statistics of norms count nowhere, as is usual.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from search_spaces.layers import drop_norms_and_activations
from search_spaces.meta_shapes import given, moves, shaped

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

    def window(self, lows: Sequence[int], highs: Sequence[int]) -> "Span":
        """The span of a map whose value ``i`` is made of the values ``lows[i]`` to ``highs[i]``, both included."""
        length, period, low, high = len(self.first), self.period, self.first, self.last
        first = tuple([low[place % length] + place // length * period for place in lows])
        return Span(
            first, tuple([high[place % length] + place // length * period for place in highs]), period
        )

    def size(self) -> float:
        """Pixels of the widest."""
        return max(high - low + 1 for low, high in zip(self.first, self.last, strict=True))


Spans = tuple[Span, ...]
Rule = Callable[..., tuple[Sequence[int], Sequence[int]]]


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
    x = torch.empty(1, image[0], *size, device="meta")
    pixels = tuple(float(place) for place in range(stride))
    _see(x, (Span(pixels, pixels, stride),) * len(size))
    with torch.no_grad(), follower:
        logits = network(x)
    spans = _seen(logits)
    assert spans is not None, "logits depend on the image"
    return Walk(follower.macs, tuple(span.size() for span in spans))


class _Follower(TorchFunctionMode):
    """Writes on each tensor which pixels of the image its values depend on; new tensors are on the meta device."""

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
        name = getattr(func, "__name__", "")
        if name == "__get__":
            return func(*args, **kwargs)
        result = shaped(name, args, kwargs)
        if result is None:
            if name in _CREATORS and kwargs.get("device") is None:
                kwargs = {**kwargs, "device": "meta"}
            result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            results = [result] if _seen(result) is None else []
        elif type(result) in (tuple, list):
            results = [value for value in _tensors(result) if _seen(value) is None]
        else:
            return result
        if results:
            seen = [
                spans for value in _tensors((*args, *kwargs.values())) if (spans := _seen(value)) is not None
            ]
            for value in results if seen else ():
                _see(value, self._after(name, args, kwargs, value, seen))
        return result

    def _after(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], y: Tensor, seen: list[Spans]
    ) -> Spans:
        x = args[0] if args and isinstance(args[0], Tensor) else y
        dims = len(self.size)
        if name in _CONVS:
            weight, transposed = args[1].shape, name in _TRANSPOSED
            over = x if transposed else y
            kernel = weight[2:]
            self.macs += over.numel() * weight[1] * math.prod(kernel)
            numbers = moves(args, kwargs, kernel, transposed=transposed)
            return self._moved(seen[0], y, _transposed if transposed else _slid, (kernel, *numbers))
        if name == "linear":
            self.macs += y.numel() * args[1].shape[1]
        if name in _PRODUCTS:
            self.macs += y.numel() * x.shape[-1]
            whole = len(seen) > 1 or x.dim() == dims + 2  # of two maps, or along a dimension of one
            return self.whole if whole else seen[0]
        if name in _POOLS:
            kernel = given(args, kwargs, 1, "kernel_size", dims)
            step = given(args, kwargs, 2, "stride", dims, default=kernel)
            pad = given(args, kwargs, 3, "padding", dims, default=(0,) * dims)
            return self._moved(seen[0], y, _slid, (kernel, step, pad, (1,) * dims))
        if name == "interpolate":
            linear = kwargs.get("mode", args[3] if len(args) > 3 else "nearest") != "nearest"
            factor = tuple(b / a for a, b in zip(x.shape[2:], y.shape[2:], strict=True))
            return self._moved(seen[0], y, _resized, (factor, (linear,) * dims))
        if name.startswith("adaptive_"):
            return self.whole
        if name in _REDUCTIONS and x.dim() == dims + 2 and y.shape[2:] != x.shape[2:]:
            return self.whole
        return seen[0] if len(seen) == 1 else _widest(seen)

    def _moved(self, spans: Spans, y: Tensor, rule: Rule, arguments: tuple[tuple[Any, ...], ...]) -> Spans:
        """The spans of ``y`` by a rule that says which values one of its values is made of."""
        moved: list[Span] = []
        before: tuple[Any, ...] = ()
        for span, whole, length, *numbers in zip(spans, self.size, y.shape[2:], *arguments, strict=True):
            case = (span, whole, length, *numbers)
            if before and case[0] is before[0] and case[1:] == before[1:]:
                moved.append(moved[-1])  # dimensions are mostly alike
                continue
            before, places = case, self.stride * length / whole
            if math.isinf(span.last[0]) or places < 1 or places != int(places):
                moved.append(self.whole[0])
            else:
                moved.append(span.window(*rule(range(int(places)), *numbers)))
        return tuple(moved)


_CREATORS = {
    "empty",
    "zeros",
    "ones",
    "full",
    "arange",
    "linspace",
    "eye",
    "tensor",
    "as_tensor",
    "rand",
    "randn",
}
_CONVS = {"conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d"}
_TRANSPOSED = {"conv_transpose2d", "conv_transpose3d"}
_POOLS = {
    "max_pool2d", "max_pool3d", "avg_pool2d", "avg_pool3d", "_max_pool2d", "_max_pool3d",
    "max_pool2d_with_indices", "max_pool3d_with_indices",
}  # fmt: skip
_PRODUCTS = {"matmul", "bmm", "mm", "__matmul__"}
_REDUCTIONS = {"mean", "sum", "amax", "amin", "var", "std"}


def _slid(
    places: Sequence[int], kernel: int, stride: int, padding: int, rate: int
) -> tuple[Sequence[int], Sequence[int]]:
    lows = range(-padding, len(places) * stride - padding, stride)
    reach = (kernel - 1) * rate
    return lows, range(reach - padding, len(places) * stride + reach - padding, stride)


def _transposed(
    places: Sequence[int], kernel: int, stride: int, padding: int, rate: int
) -> tuple[Sequence[int], Sequence[int]]:
    highs = [(place + padding) // stride for place in places]
    reach = padding - rate * (kernel - 1)
    lows = [min(last, -(-(place + reach) // stride)) for place, last in zip(places, highs, strict=True)]
    return lows, highs


def _resized(places: Sequence[int], factor: float, linear: bool) -> tuple[Sequence[int], Sequence[int]]:
    if not linear:
        same = [int(place // factor) for place in places]
        return same, same
    sources = [(place + 0.5) / factor - 0.5 for place in places]
    return [math.floor(source) for source in sources], [math.ceil(source) for source in sources]


def _widest(seen: Sequence[Spans]) -> Spans:
    """Of several inputs, in each dimension."""
    found: list[Span] = []
    for place, spans in enumerate(zip(*seen, strict=True)):
        alike = place and all(one[place] is one[place - 1] for one in seen)
        found.append(found[-1] if alike else _wider(spans))
    return tuple(found)


def _wider(spans: tuple[Span, ...]) -> Span:
    if all(span is spans[0] for span in spans):
        return spans[0]
    if len({len(span.first) for span in spans}) > 1:  # one value for all places, from the whole image
        return Span((-WHOLE,), (WHOLE,), spans[0].period)
    first = tuple(map(min, *[span.first for span in spans]))
    return Span(first, tuple(map(max, *[span.last for span in spans])), spans[0].period)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """Those among values, and within lists, tuples and dicts of values; most are numbers."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif type(value) in (tuple, list) and value and not isinstance(value[0], int | float):
            yield from _tensors(value)
        elif type(value) is dict:
            yield from _tensors(value.values())


def _see(tensor: Tensor, spans: Spans) -> None:
    tensor._spans = spans  # type: ignore[attr-defined]  # tensors carry attributes


def _seen(tensor: Tensor) -> Spans | None:
    return getattr(tensor, "_spans", None)
