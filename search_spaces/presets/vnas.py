"""Encoder and decoder of planar, volumetric and factorised convolutions, as V-NAS searches them.

Source: Zhu et al. 2019, "V-NAS: neural architecture search for volumetric medical image segmentation", arXiv:1906.02817.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.cell import chain
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.unet import UNetDecoder
from search_spaces.encoders.staged import Stage, Staged
from search_spaces.operations.planar import Planar
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.concat import Concat
from search_spaces.start import start_from


@entry("vnas")
@dataclass(frozen=True, slots=True)
class VNas(Preset):
    """A U-Net for volumes whose layers convolve in planes while fine and in the volume while coarse."""

    title: ClassVar[str] = "V-NAS-style network"
    paper: ClassVar[str] = "Zhu et al. 2019, V-NAS, arXiv:1906.02817"
    note: ClassVar[str] = (
        "The kinds of layers are those of the paper, the choice among them is a typical one and not a "
        "published result; widths are those of a small U-Net."
    )
    channels: ClassVar[tuple[int, int]] = (1, 3)
    parameters: ClassVar[int] = 933_107  # counted here
    ndim: ClassVar[int] = 3

    def candidate(self) -> Candidate:
        plane, factorised, volume = Planar("plane"), Planar("factorised"), Planar("volume")
        stages = ((32, (plane, factorised)), (64, (factorised, factorised)), (128, (factorised, volume)))
        plan = (Stage(16, (plane, plane), halves=False), *(Stage(width, layers) for width, layers in stages))
        architecture = Architecture(
            encoder=Staged(plan, stem=16, stem_stride=1),
            context=NoContext(),
            skip=Concat(),
            decoder=UNetDecoder(chain(factorised, factorised)),
        )
        return start_from(architecture)
