"""What a network costs, counted without memory for its weights."""

import contextlib
import functools
import gc
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from search_spaces.architecture import Architecture
from search_spaces.codec import canonical
from search_spaces.counted_layers import CountedLayers, Unfilled
from search_spaces.network import Network
from search_spaces.walk import walk


@dataclass(frozen=True, slots=True)
class Profile:
    """Costs of one network.

    Attributes:
        parameters: Trainable numbers; running statistics of norms are no parameters.
        macs: Multiply-accumulates of convolutions, linear layers and products of maps for one input.
        receptive_field: Pixels that a logit depends on in each dimension, infinite for the whole image; see ``walk``.
        output_stride: Input size over the size of the smallest features.
    """

    parameters: int
    macs: int
    receptive_field: tuple[float, ...]
    output_stride: int


def profile(
    architecture: Architecture, in_channels: int, num_classes: int, input_size: tuple[int, ...]
) -> Profile:
    """Count the network that ``build_model`` makes, on the meta device: nothing is allocated, no generator is
    used.

    Args:
        architecture: What to count.
        in_channels: Channels of an image.
        num_classes: Channels of the logits.
        input_size: Spatial size, (H, W) or (D, H, W); its length is the number of dimensions.
    """
    return _profile(canonical(architecture), in_channels, num_classes, input_size)


@functools.lru_cache(maxsize=4096)
def _profile(
    architecture: Architecture, in_channels: int, num_classes: int, input_size: tuple[int, ...]
) -> Profile:
    with _uncollected():
        return _counted(architecture, in_channels, num_classes, input_size)


def _counted(
    architecture: Architecture, in_channels: int, num_classes: int, input_size: tuple[int, ...]
) -> Profile:
    with torch.device("meta"), Unfilled():
        network = Network(architecture, in_channels, num_classes, len(input_size), makes=CountedLayers)
    parameters = _parameters(network)
    walked = walk(network, (in_channels, *input_size), stride=network.stride)
    return Profile(parameters, walked.macs, walked.receptive_field, network.stride)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No search for cycles while a network lives: thousands of objects that come and go make Python look through all others."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _parameters(network: nn.Module) -> int:
    """Trainable numbers, each once; torch's own walk over parameters takes time that grows with the depth of nesting."""
    total, modules, known = 0, [network], set[int]()
    while modules:
        module = modules.pop()
        if id(module) in known:
            continue
        known.add(id(module))
        modules += [child for child in module._modules.values() if child is not None]
        for weight in module._parameters.values():
            if weight is not None and id(weight) not in known and weight.requires_grad:
                known.add(id(weight))
                total += weight.numel()
    return total
