"""The one builder: search, retraining and export make their networks here."""

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.codec import canonical
from search_spaces.errors import ShapeError
from search_spaces.layers import Layers, resize


def build_model(
    architecture: Architecture, *, in_channels: int, num_classes: int, ndim: int, seed: int | None = None
) -> nn.Module:
    """Build the network of an architecture's canonical form.

    Convolutions start from He's normal distribution (arXiv:1502.01852, Eq. 10; fan-in), norms from one and
    zero.

    Args:
        in_channels: Channels of an image.
        num_classes: Classes, background included; the channels of the logits.
        ndim: Spatial dimensions, 2 or 3.
        seed: Start of the weights' generator; the global generator is left as it was. None draws from the
            global one, for weights that are loaded afterwards.

    Shape:
        (N, in_channels, *S) float -> logits (N, num_classes, *S), any size S.

    Raises:
        ShapeError: A count that no network can have.
    """
    if ndim not in (2, 3) or in_channels < 1 or num_classes < 1:
        raise ShapeError(
            f"build_model: ndim {ndim}, in_channels {in_channels}, num_classes {num_classes} given; "
            "2 or 3 dimensions, at least 1 channel and 1 class are allowed."
        )
    with _seeded(seed):
        network = Network(canonical(architecture), in_channels, num_classes, ndim)
        network.apply(_initialise)
    return network


class Network(nn.Module):
    """Encoder, context, decoder, head; pads to what the strides need and crops back."""

    def __init__(self, architecture: Architecture, in_channels: int, num_classes: int, ndim: int) -> None:
        super().__init__()
        layers = Layers(ndim, architecture.norm, architecture.activation)
        levels = architecture.encoder.levels()
        deepest = architecture.context.out_channels(levels.channels[-1])
        self.stride = levels.strides[-1]
        self.encoder = architecture.encoder.build(layers, in_channels)
        self.context = architecture.context.build(layers, levels.channels[-1])
        levels = levels.with_deepest(deepest)
        self.decoder = architecture.decoder.build(layers, levels, architecture.skip)
        self.head = layers.conv(architecture.decoder.out_channels(levels), num_classes, kernel=1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> logits (N, num_classes, *S)."""
        size = x.shape[2:]
        x = pad_to_stride(x, self.stride)
        padded = tuple(x.shape[2:])
        features = self.encoder(x)
        features[-1] = self.context(features[-1])
        logits = resize(self.head(self.decoder(features)), padded)
        if padded == tuple(size):
            return logits
        for dim, length in enumerate(size, start=2):
            logits = logits.narrow(dim, 0, length)
        return logits


def pad_to_stride(x: Tensor, stride: int) -> Tensor:
    """Zeros after the end of each dimension up to a multiple of ``stride``, at least two strides.

    Two strides leave the deepest features two values a dimension, without which instance normalisation is not
    defined.
    """
    pads: list[int] = []
    for length in reversed(x.shape[2:]):
        target = max(-(-int(length) // stride), 2) * stride
        pads += [0, target - int(length)]
    return F.pad(x, pads) if any(pads) else x


def _initialise(module: nn.Module) -> None:
    if isinstance(
        module, nn.ConvTranspose2d | nn.ConvTranspose3d
    ):  # linear; kernel = stride, so fan-in = channels
        nn.init.normal_(module.weight, std=module.in_channels**-0.5)
    elif isinstance(module, nn.Conv2d | nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Let constructors draw from ``seed``, then give the global CPU generator its state back."""
    if seed is None:
        yield
        return
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)
