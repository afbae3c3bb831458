"""ResNet-38.

Source: Wu et al. 2019, "Wider or deeper: revisiting the ResNet model for visual recognition", arXiv:1611.10080.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.deepest import Deepest
from search_spaces.encoders.wide_resnet import WideResnet
from search_spaces.heads.hidden import HiddenHead
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.none import NoSkip
from search_spaces.start import start_from


@entry("resnet38")
@dataclass(frozen=True, slots=True)
class Resnet38(Preset):
    """A wide, shallow residual network of output stride 8 and one hidden convolution."""

    title: ClassVar[str] = "ResNet-38 (model A2)"
    paper: ClassVar[str] = "Wu et al. 2019, Wider or deeper, arXiv:1611.10080"
    note: ClassVar[str] = (
        "No parameter count is published for segmentation; the hidden convolution of the head is "
        "normalised, and dropout stands before the classifier only."
    )
    channels: ClassVar[tuple[int, int]] = (3, 21)
    parameters: ClassVar[int] = 123_957_077  # counted here; 105,070,912 without the head

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=WideResnet(64, output_stride=8),
            context=NoContext(),
            skip=NoSkip(),
            decoder=Deepest(),
            head=HiddenHead(512, dropout=0.5),
        )
        return start_from(architecture)
