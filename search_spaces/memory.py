"""What a training step of a network needs in memory, estimated without it.

A pass without memory says which tensors autograd would keep for the backward pass; they grow with the batch, but for the
weights in half precision that autocast keeps. To them come the weights, their gradients, the optimiser's moments and the moving
average, and what the backward pass holds beside: two gradients of the size of the largest kept tensor.

Not counted: the data, what a loss keeps beyond two maps of logits, workspaces of convolutions, and what the process and its
allocator take. So the estimate is low, see docs/benchmarks.md.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from search_spaces.architecture import Architecture
from search_spaces.codec import canonical
from search_spaces.counted_layers import Unfilled
from search_spaces.network import Network

FLOAT_BYTES = 4
COPIES = 5  # of the weights: themselves, gradients, two moments of AdamW, a moving average
IMAGES = 2  # that go through; batch norm needs more than one value

Precision = Literal["fp32", "bf16"]


def training_bytes(
    architecture: Architecture,
    *,
    in_channels: int,
    num_classes: int,
    input_size: tuple[int, ...],
    batch: int,
    precision: Precision = "fp32",
) -> int:
    """Bytes of a training step.

    Args:
        architecture: What is trained.
        in_channels: Channels of an image.
        num_classes: Channels of the logits.
        input_size: Spatial size, (H, W) or (D, H, W); its length is the number of dimensions.
        batch: Images that go through the network at once.
        precision: That of the recipe; ``bf16`` is autocast as CPUs have it, with weights and logits for the loss in float32.
    """
    needs = _needs(canonical(architecture), in_channels, num_classes, input_size, precision)
    return COPIES * needs.weights + needs.kept(batch) + 2 * batch * needs.largest


def kept_bytes(
    architecture: Architecture,
    *,
    in_channels: int,
    num_classes: int,
    input_size: tuple[int, ...],
    batch: int,
    precision: Precision = "fp32",
) -> int:
    """Of ``training_bytes`` those that autograd keeps beside the weights: what hooks on saved tensors see."""
    return _needs(canonical(architecture), in_channels, num_classes, input_size, precision).kept(batch)


@dataclass(frozen=True, slots=True)
class _Needs:
    """Bytes of the weights, of their copies that autograd keeps, and of what it keeps of one image; of the largest of it."""

    weights: int
    copies: int
    image: int
    largest: int

    def kept(self, batch: int) -> int:
        return self.copies + batch * self.image


@functools.lru_cache(maxsize=4096)
def _needs(
    architecture: Architecture,
    in_channels: int,
    num_classes: int,
    input_size: tuple[int, ...],
    precision: Precision,
) -> _Needs:
    kept: dict[int, tuple[int, Tensor]] = {}
    with _without_memory(precision):
        with Unfilled():
            network = Network(architecture, in_channels, num_classes, len(input_size)).train()
        own = {weight.untyped_storage()._cdata for weight in network.parameters()}

        def keep(tensor: Tensor) -> Tensor:
            tensor = tensor.detach()  # else graph, hook and what it keeps would hold one another for ever
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = (storage.nbytes(), tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), _Copies(own) as copies:
            x = torch.empty(IMAGES, in_channels, *input_size)
            with _precision(precision):
                outputs = network.compared(x)
            for logits in outputs:
                probs = torch.log_softmax(logits.float(), 1).exp()  # a loss on the distribution
                probs.square().sum()  # and one on the regions
    weights = FLOAT_BYTES * sum(weight.numel() for weight in network.parameters())
    of_weights = sum(size for place, (size, _) in kept.items() if place in copies.found)
    sizes = [size for place, (size, _) in kept.items() if place not in copies.found]
    largest = max(sizes, default=0)
    return _Needs(weights, of_weights, math.ceil(sum(sizes) / IMAGES), math.ceil(largest / IMAGES))


@contextlib.contextmanager
def _without_memory(precision: Precision) -> Iterator[None]:
    """New tensors have no values. Those of autocast must think that they lie on a CPU, which takes twice as long."""
    with torch.device("meta") if precision == "fp32" else FakeTensorMode():
        yield


def _precision(precision: Precision) -> contextlib.AbstractContextManager[object]:
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast("cpu", dtype=torch.bfloat16)


class _Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no annotation there
    """Sees copies of weights in another type.

    Attributes:
        found: Each by the place of its storage.
    """

    def __init__(self, weights: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no annotation there
        self.weights = weights
        self.found: dict[int, Tensor] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and args[0].untyped_storage()._cdata in self.weights:
            self.found[result.untyped_storage()._cdata] = result
        return result
