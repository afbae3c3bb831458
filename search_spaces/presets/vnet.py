"""V-Net.

Source: Milletari et al. 2016, "V-Net: fully convolutional neural networks for volumetric medical image segmentation",
    arXiv:1606.04797.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.vnet import VNetDecoder
from search_spaces.encoders.vnet import VNetEncoder
from search_spaces.heads.hidden import HiddenHead
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.concat import Concat
from search_spaces.start import start_from


@entry("vnet")
@dataclass(frozen=True, slots=True)
class VNet(Preset):
    """Residual stages of 5-convolutions, strided convolutions between them, learned slopes of the activations."""

    title: ClassVar[str] = "V-Net, 16 to 256 channels"
    paper: ClassVar[str] = "Milletari et al. 2016, V-Net, arXiv:1606.04797"
    note: ClassVar[str] = (
        "The network of the authors' prototxt for volumes, one slope a channel, no normalisation. The popular 45.6 M "
        "parameters are those of a PyTorch port with batch normalisation (45,600,316 with elu, 45,603,934 with prelu), which "
        "has one convolution less at the three coarsest stages and activations before the sums; one more hidden "
        "convolution of two channels at the end belongs to both."
    )
    channels: ClassVar[tuple[int, int]] = (1, 2)
    parameters: ClassVar[int] = 61_982_682
    ndim: ClassVar[int] = 3

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=VNetEncoder(width=16, depths=(1, 2, 3, 3)),
            context=NoContext(),
            skip=Concat(),
            decoder=VNetDecoder(depths=(1, 1, 2, 3)),
            norm="none",
            activation="prelu",
            head=HiddenHead(2, kernel=5),
        )
        return start_from(architecture, learning_rate=3e-4)
