"""Architecture: the part of a candidate that becomes a network."""

from dataclasses import dataclass

from search_spaces.context import Context
from search_spaces.decoder import Decoder
from search_spaces.encoder import Encoder
from search_spaces.layers import Activation, Norm
from search_spaces.skip import Skip


@dataclass(frozen=True, slots=True)
class Architecture:
    """Four parts and what their layers have in common. ``network.build_model`` turns it into a module.

    Attributes:
        encoder: Image to features at several strides.
        context: What happens to the deepest features.
        skip: How the decoder takes in finer features.
        decoder: Features back to one fine map.
        norm: Normalisation after each convolution.
        activation: Non-linearity after each normalisation.
    """

    encoder: Encoder
    context: Context
    skip: Skip
    decoder: Decoder
    norm: Norm = "batch"
    activation: Activation = "relu"
