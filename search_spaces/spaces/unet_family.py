"""``unet_family``: encoder-decoders with skips: the U-Net and its relatives, SegNet, FC-DenseNet, CE-Net."""

from search_spaces.candidate import Candidate
from search_spaces.space import Choose
from search_spaces.span import span

SYSTEMS = (
    "small_unet",
    "unet",
    "unet_original",
    "unetplusplus",
    "attention_unet",
    "r2unet",
    "segnet",
    "fc_densenet56",
    "cenet",
)


def unet_family(choose: Choose) -> Candidate:
    """Encoder-decoders with skips: the U-Net and its relatives, SegNet, FC-DenseNet, CE-Net."""
    return span(choose, SYSTEMS)
