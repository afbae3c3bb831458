"""Bilateral segmentation network.

Source: Yu et al. 2018, "BiSeNet: bilateral segmentation network for real-time semantic segmentation", arXiv:1808.00897.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture, Auxiliary
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.bisenet import BiSeNetDecoder
from search_spaces.encoders.resnet import Resnet
from search_spaces.encoders.two_path import TwoPath
from search_spaces.heads.hidden import HiddenHead
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.feature_fusion import FeatureFusion
from search_spaces.start import start_from


@entry("bisenet")
@dataclass(frozen=True, slots=True)
class BiSeNet(Preset):
    """A shallow path beside ResNet-18, attention refinement, feature fusion, two auxiliary heads."""

    title: ClassVar[str] = "BiSeNet, ResNet-18"
    paper: ClassVar[str] = "Yu et al. 2018, BiSeNet, arXiv:1808.00897"
    note: ClassVar[str] = (
        "The variant of the PyTorch re-write whose parameter count is known (13,275,539 without auxiliary "
        "heads): one normalised convolution as the gate of the fusion, 3-convolutions around attention."
    )
    channels: ClassVar[tuple[int, int]] = (3, 19)
    parameters: ClassVar[int] = (
        13_425_721  # counted from CoinCheung/BiSeNet: 19 classes, with two auxiliary heads
    )

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=TwoPath(Resnet(18)),
            context=NoContext(),
            skip=FeatureFusion(hidden=False),
            decoder=BiSeNetDecoder(128),
            head=HiddenHead(256),
            auxiliary=tuple(Auxiliary(of="decoder", level=level, width=64, weight=1.0) for level in (1, 2)),
        )
        return start_from(architecture)
