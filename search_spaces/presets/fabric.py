"""Convolutional neural fabric.

Source: Saxena and Verbeek 2016, "Convolutional neural fabrics", arXiv:1606.02492.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.finest import Finest
from search_spaces.encoders.fabric import Fabric
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.skips.none import NoSkip
from search_spaces.start import start_from


@entry("fabric")
@dataclass(frozen=True, slots=True)
class FabricPreset(Preset):
    """Every path through eight layers and six scales at once."""

    title: ClassVar[str] = "Convolutional neural fabric, 8 layers, 6 scales"
    paper: ClassVar[str] = "Saxena and Verbeek 2016, Convolutional neural fabrics, arXiv:1606.02492"
    note: ClassVar[str] = (
        "Dense channels, 64 a node; six scales instead of as many as lead to one pixel, for images of any size. The "
        "parameters follow from the lattice and are no published number."
    )
    channels: ClassVar[tuple[int, int]] = (3, 2)
    parameters: ClassVar[int] = 4_505_410

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Fabric(width=64, scales=6, layers=8),
            context=NoContext(),
            skip=NoSkip(),
            decoder=Finest(),
        )
        return start_from(architecture)
