"""What a network costs, counted without memory for its weights."""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.codec import canonical
from search_spaces.layers import drop_norms_and_activations
from search_spaces.network import Network

_CONVS = (nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, slots=True)
class Profile:
    """Costs of one network.

    Attributes:
        parameters: Trainable numbers; running statistics of norms are no parameters.
        macs: Multiply-accumulates of the convolutions and linear layers for one input.
    """

    parameters: int
    macs: int


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
    with torch.device("meta"):
        network = Network(architecture, in_channels, num_classes, len(input_size))
    parameters = sum(weight.numel() for weight in network.parameters())
    return Profile(parameters, count_macs(network, (in_channels, *input_size)))


def count_macs(network: nn.Module, image: tuple[int, ...]) -> int:
    """Multiply-accumulates of a network on the meta device for one image, which the network is of no use after.

    Args:
        network: Of which norms and activations are taken out.
        image: Channels and spatial size.
    """
    macs: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        macs.append(_macs(module, inputs[0], output))

    drop_norms_and_activations(
        network
    )  # they count nothing, but take most of the time of a pass on the meta device
    for module in network.modules():
        if isinstance(module, (*_CONVS, *_TRANSPOSED, nn.Linear)):
            module.register_forward_hook(count)
    with torch.device("meta"), torch.no_grad():
        network(torch.empty(1, *image))
    return sum(macs)


def _macs(module: nn.Module, x: Tensor, y: Tensor) -> int:
    if isinstance(module, _CONVS):
        return y.numel() * (module.in_channels // module.groups) * math.prod(module.kernel_size)
    if isinstance(module, _TRANSPOSED):
        return x.numel() * (module.out_channels // module.groups) * math.prod(module.kernel_size)
    assert isinstance(module, nn.Linear)
    return y.numel() * module.in_features
