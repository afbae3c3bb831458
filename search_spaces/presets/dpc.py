"""The best dense prediction cell on Xception.

Source: Chen et al. 2018, "Searching for efficient multi-scale architectures for dense image prediction", arXiv:1809.04184.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.candidate import Candidate
from search_spaces.contexts.dpc import Dpc
from search_spaces.dilated import xception_with
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.start import start_from


@entry("dpc")
@dataclass(frozen=True, slots=True)
class DensePredictionCell(Preset):
    """Aligned Xception of output stride 16, a found context of five branches, fusion at stride 4."""

    title: ClassVar[str] = "DPC, Xception-71"
    paper: ClassVar[str] = "Chen et al. 2018, DPC, arXiv:1809.04184"
    note: ClassVar[str] = "No parameter count is published; the decoder is that of DeepLabV3+."
    channels: ClassVar[tuple[int, int]] = (3, 19)
    parameters: ClassVar[int] = 41_608_523  # counted here

    def candidate(self) -> Candidate:
        return start_from(xception_with(Dpc(256, dropout=0.1)))
