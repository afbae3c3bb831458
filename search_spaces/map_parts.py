"""Which parts the channels of each map are joined of: one pass through a network on the meta device.

A map that a convolution made is one part; a concatenation has the parts of what it joins, in order; what keeps channels apart
(norms, activations, pooling, resizing, sums, depthwise convolutions) keeps the parts of its input.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from search_spaces.network import Network

_CONVS = {"conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d"}
_JOINS = {"cat", "concat", "concatenate"}

Parts = tuple[int, ...]
"""Channels of each part of a map."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The parts of what goes into a module, and of what comes out of it."""

    inputs: Parts
    outputs: Parts


def map_parts(network: Network, image: tuple[int, ...]) -> dict[str, Ends]:
    """The parts at both ends of every module that has weights, by its name; a module that is not called is left out.

    Args:
        network: On the meta device; it is left in evaluation mode.
        image: Channels and spatial size.
    """
    found: dict[str, Ends] = {}
    hooks = [
        module.register_forward_hook(_noting(name, found))
        for name, module in network.named_modules()
        if is_owner(module)
    ]
    network.eval()
    with torch.device("meta"), torch.no_grad():
        x = torch.empty(1, *image)
        _set(x, (image[0],))
        with _Follower():
            network.training_logits(x)
    for hook in hooks:
        hook.remove()
    return found


def is_owner(module: nn.Module) -> bool:
    """Whether a module has weights or statistics of its own."""
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return bool(own)


def _noting(name: str, found: dict[str, Ends]) -> Callable[[nn.Module, Any, Any], None]:
    """A hook that notes the first call of a module; one that is called again sees maps of the same kind."""

    def note(_module: nn.Module, given: Any, made: Any) -> None:
        if name not in found and given and isinstance(given[0], Tensor) and isinstance(made, Tensor):
            found[name] = Ends(_parts(given[0]), _parts(made))

    return note


class _Follower(TorchFunctionMode):
    """Writes on each tensor of which parts its channels are."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if isinstance(result, Tensor | tuple | list):
            for value in _tensors(result):
                if value.dim() > 1 and _known(value) is None:
                    _set(value, _after(getattr(func, "__name__", ""), args, kwargs, value))
        return result


def _after(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], y: Tensor) -> Parts:
    if name in _JOINS:
        dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        if dim % y.dim() == 1:
            return tuple(part for value in _tensors(args[0]) for part in _parts(value))
    if name == "linear" or (name in _CONVS and not _is_depthwise(args[0], args[1], y)):
        return (y.shape[1],)
    sources = (value for value in _tensors((args, kwargs)) if _known(value) is not None)
    return next((_parts(value) for value in sources if value.shape[1] == y.shape[1]), (y.shape[1],))


def _is_depthwise(x: Tensor, weight: Tensor, y: Tensor) -> bool:
    return weight.shape[1] == 1 and weight.shape[0] == x.shape[1] == y.shape[1]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))


def _parts(tensor: Tensor) -> Parts:
    return _known(tensor) or (tensor.shape[1],)


def _known(tensor: Tensor) -> Parts | None:
    return getattr(tensor, "_parts", None)


def _set(tensor: Tensor, parts: Parts) -> None:
    tensor._parts = parts  # type: ignore[attr-defined]  # tensors carry attributes
