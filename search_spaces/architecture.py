"""Architecture: the part of a candidate that becomes a network."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from search_spaces.codec import LATER
from search_spaces.context import Context
from search_spaces.contexts.none import NoContext
from search_spaces.decoder import Decoder
from search_spaces.encoder import Encoder, Levels
from search_spaces.errors import SpaceError
from search_spaces.front import Front
from search_spaces.fronts.none import NoFront
from search_spaces.head import Head
from search_spaces.heads.conv import ConvHead
from search_spaces.layers import Activation, Layers, Norm, Padding
from search_spaces.pyramid import ScaleAttention
from search_spaces.skip import Skip
from search_spaces.skips.none import NoSkip


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """A further head that training looks at and inference leaves out.

    Attributes:
        of: Whose maps it takes: those of the encoder, or those of the decoder, of which 0 is the result.
        level: Which of them, finest first; negative from the end.
        width: Channels of a 3-convolution before its classifier; 0 for none.
        weight: Of its loss beside that of the network's logits.
    """

    of: Literal["encoder", "decoder"]
    level: int
    width: int = 0
    weight: float = 0.4  # Zhao et al. 2017, PSPNet, section 3.3, arXiv:1612.01105

    def __post_init__(self) -> None:
        if self.width < 0 or not 0 < self.weight <= 1:
            raise SpaceError(
                f"architecture.auxiliary: {self!r} given; a width from 0 and a weight in (0, 1] are allowed."
            )


@dataclass(frozen=True, slots=True)
class Architecture:
    """Parts and what their layers have in common. ``network.build_model`` turns it into a module.

    Attributes:
        encoder: Image to features at several strides.
        context: What happens to the deepest features.
        skip: How the decoder takes in finer features.
        decoder: Features back to one fine map.
        norm: Normalisation after each convolution.
        activation: Non-linearity after each normalisation.
        head: The decoder's result to logits.
        auxiliary: Further heads in training.
        conv_bias: Whether convolutions before a norm have a bias.
        padding: What is around an image of features.
        front: What happens to an image before the encoder.
        pyramid: On which sizes of an image the whole network runs, and how its scores are mixed; None for its own alone.
    """

    encoder: Encoder
    context: Context
    skip: Skip
    decoder: Decoder
    norm: Norm = "batch"
    activation: Activation = "relu"
    head: Head = field(default_factory=ConvHead, metadata=LATER)
    auxiliary: tuple[Auxiliary, ...] = field(default=(), metadata=LATER)
    conv_bias: bool = field(default=False, metadata=LATER)
    padding: Padding = field(default="zeros", metadata=LATER)
    front: Front = field(default_factory=NoFront, metadata=LATER)
    pyramid: ScaleAttention | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        levels = self.levels()
        if self.decoder.unpools and not self.encoder.pools_max():
            raise SpaceError(
                f"architecture.decoder: {self.decoder.kind} takes pool indices, which need max-pool downsampling; "
                "choose it in the encoder, or another decoder."
            )
        if refusal := self.decoder.refusal(levels, self.skip):
            raise SpaceError(f"architecture.decoder: {refusal}")
        if self.decoder.finds_objects and (self.auxiliary or self.pyramid is not None):
            raise SpaceError(
                f"architecture.decoder: {self.decoder.kind} is trained by losses of its own, which auxiliary heads and a "
                "pyramid of images do not have; leave them out."
            )
        maps = {
            "encoder": len(levels.channels),
            "decoder": len(self.decoder.out_levels(levels, num_classes=2).channels),
        }
        for place, auxiliary in enumerate(self.auxiliary):
            if not -maps[auxiliary.of] <= auxiliary.level < maps[auxiliary.of]:
                raise SpaceError(
                    f"architecture.auxiliary.{place}.level: {auxiliary.level} given; "
                    f"the {auxiliary.of} has {maps[auxiliary.of]} maps."
                )

    def canonical(self) -> "Architecture":
        """Parts that nothing reads, and what the norm makes meaningless, have their defaults."""
        levels = self.encoder.levels()
        last = len(levels.channels) - 1
        seen = any(one.of == "encoder" and one.level in (-1, last) for one in self.auxiliary)
        context: Context = self.context.in_network(self.norm)
        if not seen and not self.decoder.reads_deepest(levels):
            context = NoContext()
        skip: Skip = NoSkip()
        if self.decoder.takes_skips(levels) or self.decoder.refusal(levels, skip):
            skip = self.skip
        changes: dict[str, Any] = {
            "encoder": self.encoder.in_network(),
            "context": context,
            "skip": skip,
            "decoder": self.decoder.in_network(levels, skip, bias=self.conv_bias or self.norm == "none"),
            "head": ConvHead() if self.decoder.classifies else self.head.in_network(self.norm),
            "conv_bias": self.conv_bias and self.norm != "none",
        }
        changes = {name: value for name, value in changes.items() if value != getattr(self, name)}
        return replace(self, **changes) if changes else self

    def levels(self) -> Levels:
        """Those that the decoder sees: the encoder's, with the context's channels at the deepest."""
        levels = self.encoder.levels()
        return levels.with_deepest(self.context.out_channels(levels.channels[-1]))

    def layers(self, ndim: int, kind: type[Layers] = Layers) -> Layers:
        """What makes the network's layers in so many dimensions."""
        return kind(
            ndim,
            self.norm,
            self.activation,
            conv_bias=self.conv_bias,
            padding=self.padding,
            pool_indices=self.decoder.unpools,
        )
