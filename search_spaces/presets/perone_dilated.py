"""The dilated network of Perone et al. for the gray matter of the spinal cord.

Source: Perone et al. 2018, "Spinal cord gray matter segmentation using deep dilated convolutions", arXiv:1710.01269.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.deep_aspp import DeepAspp
from search_spaces.decoders.deepest import Deepest
from search_spaces.encoders.dilated import Dilated
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.none import NoSkip
from search_spaces.start import start_from


@entry("perone_dilated")
@dataclass(frozen=True, slots=True)
class PeroneDilated(Preset):
    """Nothing is pooled: every feature has the image's size."""

    title: ClassVar[str] = "Dilated network without pooling"
    paper: ClassVar[str] = "Perone et al. 2018, Deep dilated convolutions, arXiv:1710.01269"
    note: ClassVar[str] = (
        "The network NoPoolASPP of the authors' medicaltorch, whose convolutions have a bias; normalisation comes before the "
        "activation instead of after it."
    )
    channels: ClassVar[tuple[int, int]] = (1, 1)
    parameters: ClassVar[int] = 500_161

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Dilated(width=64, rates=(1, 2), dropout=0.4),
            context=DeepAspp(rates=(6, 12, 18, 24), width=64, dropout=0.4),
            skip=NoSkip(),
            decoder=Deepest(),
            conv_bias=True,
        )
        return start_from(architecture)
