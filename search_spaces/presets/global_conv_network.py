"""Global convolutional network.

Source: Peng et al. 2017, "Large kernel matters: improve semantic segmentation by global convolutional network",
    arXiv:1703.02719.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.global_conv import GlobalConvDecoder
from search_spaces.encoders.resnet import Resnet
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.sum import Sum
from search_spaces.start import start_from


@entry("global_conv_network")
@dataclass(frozen=True, slots=True)
class GlobalConvNetwork(Preset):
    """ResNet-152, global convolutions to score maps, boundary refinement."""

    title: ClassVar[str] = "Large Kernel Matters (GCN), ResNet-152"
    paper: ClassVar[str] = "Peng et al. 2017, Large kernel matters, arXiv:1703.02719"
    note: ClassVar[str] = (
        "Kernels of 7 at every level instead of nearly the level's size; score maps are interpolated "
        "instead of deconvolved."
    )
    channels: ClassVar[tuple[int, int]] = (3, 21)
    parameters: ClassVar[int] = (
        59_369_620  # counted from zijundeng/pytorch-semantic-segmentation: 21 classes, kernel 7
    )

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Resnet(152),
            context=NoContext(),
            skip=Sum(),
            decoder=GlobalConvDecoder(kernel=7, finest=1),
        )
        return start_from(architecture)
