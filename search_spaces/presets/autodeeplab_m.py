"""Auto-DeepLab-M, the decoded network.

Source: Liu et al. 2019, "Auto-DeepLab: hierarchical neural architecture search for semantic image segmentation",
    arXiv:1901.02985.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.autodeeplab import autodeeplab
from search_spaces.candidate import Candidate
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.start import start_from


@entry("autodeeplab_m")
@dataclass(frozen=True, slots=True)
class AutoDeepLabM(Preset):
    """A found cell along a found path through strides, atrous pyramid, fusion at stride 4."""

    title: ClassVar[str] = "Auto-DeepLab-M, decoded"
    paper: ClassVar[str] = "Liu et al. 2019, Auto-DeepLab, arXiv:1901.02985"
    note: ClassVar[str] = (
        "Cells resize their inputs where the original strides inside operations; no path is dropped in "
        "training."
    )
    channels: ClassVar[tuple[int, int]] = (3, 19)
    parameters: ClassVar[int] = 21_622_451  # Table 2: 21.62 M

    def candidate(self) -> Candidate:
        return start_from(autodeeplab(32))
