"""Pyramid scene parsing network on ResNet-50.

Source: Zhao et al. 2017, "Pyramid scene parsing network", arXiv:1612.01105.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.candidate import Candidate
from search_spaces.dilated import pspnet
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.start import start_from


@entry("pspnet50")
@dataclass(frozen=True, slots=True)
class PspNet50(Preset):
    """Dilated residual network with a deep stem, pyramid pooling, one hidden convolution."""

    title: ClassVar[str] = "PSPNet, ResNet-50"
    paper: ClassVar[str] = "Zhao et al. 2017, PSPNet, arXiv:1612.01105"
    note: ClassVar[str] = (
        "Maps are interpolated with corners not aligned; the auxiliary head after the third stage "
        "(46,716,373 parameters without it) has no dropout."
    )
    channels: ClassVar[tuple[int, int]] = (3, 21)
    parameters: ClassVar[int] = (
        49_081_578  # counted from the authors' code: 21 classes, with the auxiliary head
    )

    def candidate(self) -> Candidate:
        return start_from(pspnet(50))
