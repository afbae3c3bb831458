"""What a training step of a network needs in memory, estimated without it.

A pass on the meta device says which tensors autograd would keep for the backward pass; they grow with the batch. To them come
the weights, their gradients, the optimiser's moments and the moving average, and what the backward pass holds beside: two
gradients of the size of the largest kept tensor.

Not counted: the data, what a loss keeps beyond two maps of logits, workspaces of convolutions, and what the process and its
allocator take. So the estimate is low, see docs/benchmarks.md.
"""

import functools
import math

import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.codec import canonical
from search_spaces.network import Network

FLOAT_BYTES = 4
COPIES = 5  # of the weights: themselves, gradients, two moments of AdamW, a moving average


def training_bytes(
    architecture: Architecture, *, in_channels: int, num_classes: int, input_size: tuple[int, ...], batch: int
) -> int:
    """Bytes of a training step in float32.

    Args:
        architecture: What is trained.
        in_channels: Channels of an image.
        num_classes: Channels of the logits.
        input_size: Spatial size, (H, W) or (D, H, W); its length is the number of dimensions.
        batch: Images that go through the network at once.
    """
    weights, kept, largest = _bytes(canonical(architecture), in_channels, num_classes, input_size)
    return COPIES * weights + batch * (kept + 2 * largest)


@functools.lru_cache(maxsize=4096)
def _bytes(
    architecture: Architecture, in_channels: int, num_classes: int, input_size: tuple[int, ...]
) -> tuple[int, int, int]:
    """Of the weights; of all that is kept for one image; of the largest of it."""
    images = 2  # batch norm needs more than one value
    with torch.device("meta"):
        network = Network(architecture, in_channels, num_classes, len(input_size)).train()
        kept: dict[int, tuple[int, Tensor]] = {}
        own = {weight.untyped_storage()._cdata for weight in network.parameters()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = (storage.nbytes(), tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            for logits, _ in network.training_logits(torch.empty(images, in_channels, *input_size)):
                probs = torch.log_softmax(logits, 1).exp()  # a loss on the distribution
                probs.square().sum()  # and one on the regions
    weights = FLOAT_BYTES * sum(weight.numel() for weight in network.parameters())
    sizes = [size for size, _ in kept.values()]
    largest = max(sizes, default=0)
    return weights, math.ceil(sum(sizes) / images), math.ceil(largest / images)
