"""CE-Net.

Source: Gu et al. 2019, "CE-Net: context encoder network for 2D medical image segmentation", arXiv:1903.02740.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.dac_rmp import DacRmp
from search_spaces.decoders.linknet import LinkNetDecoder
from search_spaces.encoders.resnet import Resnet
from search_spaces.heads.transposed import TransposedHead
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.sum import Sum
from search_spaces.start import start_from


@entry("cenet")
@dataclass(frozen=True, slots=True)
class CeNet(Preset):
    """ResNet-34, atrous chains and pooled maps at its end, and a decoder of narrow bottlenecks."""

    title: ClassVar[str] = "CE-Net on ResNet-34"
    paper: ClassVar[str] = "Gu et al. 2019, CE-Net, arXiv:1903.02740"
    note: ClassVar[str] = (
        "The network of the authors' repository for one class; the encoder's fully connected layer is left out, and it "
        "starts from scratch, where the authors start from ImageNet."
    )
    channels: ClassVar[tuple[int, int]] = (3, 1)
    parameters: ClassVar[int] = 29_003_093

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Resnet(34),
            context=DacRmp(),
            skip=Sum(),
            decoder=LinkNetDecoder(unskipped=1, bias=True),
            head=TransposedHead(),
        )
        return start_from(architecture)
