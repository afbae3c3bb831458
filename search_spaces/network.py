"""The one builder: search, retraining and export make their networks here."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.architecture import Architecture, Auxiliary
from search_spaces.codec import canonical
from search_spaces.encoder import Features, Levels
from search_spaces.errors import ShapeError
from search_spaces.layers import Layers, OwnStart, Pretrained, resize


def build_model(
    architecture: Architecture, *, in_channels: int, num_classes: int, ndim: int, seed: int | None = None
) -> "Network":
    """Build the network of an architecture's canonical form.

    Convolutions start from He's normal distribution (arXiv:1502.01852, Eq. 10; fan-in), norms from one and
    zero, what is an ``OwnStart`` as it says, and what is ``Pretrained`` takes over weights unless the seed is None.

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
    if seed is not None:
        for module in network.modules():
            if isinstance(module, Pretrained):
                module.load()
    return network


class Network(nn.Module):
    """Front, encoder, context, decoder, head; pads to what the strides need and crops back."""

    def __init__(
        self,
        architecture: Architecture,
        in_channels: int,
        num_classes: int,
        ndim: int,
        *,
        makes: type[Layers] = Layers,
    ) -> None:
        """``makes``: what makes its layers."""
        super().__init__()
        layers = architecture.layers(ndim, makes)
        deepest = architecture.encoder.levels().channels[-1]
        levels = architecture.levels()
        decoded = architecture.decoder.out_levels(levels, num_classes)
        self.stride = math.lcm(max(levels.strides), architecture.front.stride())
        self.front = architecture.front.build(layers, in_channels)
        self.encoder = architecture.encoder.build(layers, architecture.front.out_channels(in_channels))
        self.context = architecture.context.build(layers, deepest)
        self.decoder = architecture.decoder.build(layers, levels, architecture.skip, num_classes)
        self.finds_objects = architecture.decoder.finds_objects
        self.head: nn.Module = nn.Identity()
        if not architecture.decoder.classifies:
            self.head = architecture.head.build(
                layers, decoded.channels[0], num_classes, stride=decoded.strides[0]
            )
        self.auxiliary = architecture.auxiliary
        self.auxiliary_heads = nn.ModuleList()
        for auxiliary in architecture.auxiliary:
            source = levels if auxiliary.of == "encoder" else decoded
            self.auxiliary_heads.append(_auxiliary_head(auxiliary, layers, source, num_classes))
        self.pyramid = architecture.pyramid
        self.mix: nn.Module | None = None
        if architecture.pyramid is not None:
            self.mix = architecture.pyramid.build(layers, decoded.channels[0])

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, *S) -> logits (N, num_classes, *S)."""
        return self._logits(x, training=False)[0]

    def training_logits(self, x: Tensor) -> list[tuple[Tensor, float]]:
        """The logits, those of the auxiliary heads and those of each scale, each with the weight of its loss.

        Shape:
            (N, in_channels, *S) -> logits (N, num_classes, *S) each.
        """
        weights = [1.0, *(auxiliary.weight for auxiliary in self.auxiliary)]
        if self.pyramid is not None and self.pyramid.weight:
            weights += [self.pyramid.weight] * len(self.pyramid.scales)
        return list(zip(self._logits(x, training=True), weights, strict=True))

    def object_losses(self, x: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Of a network that finds objects: its losses, once labels (-1 where ignored) and numbers of objects are given.

        Shape:
            (N, in_channels, *S) -> a function of two maps (N, *S) that returns one value a loss.
        """
        features = self._features(pad_to_stride(x, self.stride))
        return cast(Callable[[Tensor, Tensor], Tensor], cast(Any, self.decoder).losses(features))

    def compared(self, x: Tensor) -> list[Tensor]:
        """What losses are computed of in training, in a pass that is only counted; any shapes (N, C, ...)."""
        if not self.finds_objects:
            return [logits for logits, _ in self.training_logits(x)]
        features = self._features(pad_to_stride(x, self.stride))
        return cast(list[Tensor], cast(Any, self.decoder).counted(features))

    def _features(self, x: Tensor) -> Features:
        features: Features = self.encoder(self.front(x))
        features.maps[-1] = self.context(features.maps[-1])
        return features

    def _logits(self, x: Tensor, *, training: bool) -> list[Tensor]:
        size = tuple(x.shape[2:])
        x = pad_to_stride(x, self.stride)
        padded = tuple(x.shape[2:])
        scores = (
            self._scores(x, training=training)[0] if self.mix is None else self._mixed(x, training=training)
        )
        return [_cropped(resize(score, padded), size) for score in scores]

    def _scores(self, x: Tensor, *, training: bool) -> tuple[list[Tensor], Tensor]:
        """Scores, and in training those of the auxiliary heads, of any size; what the head took."""
        features = self._features(x)
        decoded: list[Tensor] = self.decoder(features)
        scores = [self.head(decoded[0])]
        heads = zip(self.auxiliary, self.auxiliary_heads, strict=True) if training else ()
        for auxiliary, head in heads:
            source = features.maps if auxiliary.of == "encoder" else decoded
            scores.append(head(source[auxiliary.level]))
        return scores, decoded[0]

    def _mixed(self, x: Tensor, *, training: bool) -> list[Tensor]:
        """Scores mixed over the scales; in training also the auxiliary ones of the largest, and those of each scale."""
        assert self.pyramid is not None and self.mix is not None
        size = tuple(int(length) for length in x.shape[2:])
        maps, scores, auxiliary = [], [], []
        for place, scaled in enumerate(self.pyramid.sizes(size, self.stride)):
            found, last = self._scores(resize(x, scaled), training=training and place == 0)
            maps.append(last)
            scores.append(resize(found[0], size))
            auxiliary += found[1:]
        mixed: Tensor = self.mix(maps, scores)
        return [mixed, *auxiliary, *(scores if training and self.pyramid.weight else ())]


def _auxiliary_head(auxiliary: Auxiliary, layers: Layers, source: Levels, num_classes: int) -> nn.Module:
    channels = source.channels[auxiliary.level]
    if not auxiliary.width:
        return layers.conv(channels, num_classes, kernel=1, bias=True)
    hidden = layers.conv_block(channels, auxiliary.width, kernel=3)
    return nn.Sequential(hidden, layers.conv(auxiliary.width, num_classes, kernel=1, bias=True))


def _cropped(x: Tensor, size: tuple[int, ...]) -> Tensor:
    if tuple(x.shape[2:]) == size:
        return x
    for dim, length in enumerate(size, start=2):
        x = x.narrow(dim, 0, length)
    return x


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
    if isinstance(module, OwnStart):
        module.start()
        return
    if isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d):  # linear
        taps = math.prod(module.kernel_size) / math.prod(module.stride)  # of the kernel that one output sees
        nn.init.normal_(module.weight, std=(module.in_channels // module.groups * taps) ** -0.5)
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
