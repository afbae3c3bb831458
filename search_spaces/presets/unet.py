"""U-Net.

Source: Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical image segmentation", Figure 1,
    arXiv:1505.04597.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.cell import chain
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.unet import UNetDecoder
from search_spaces.encoders.cells import Cells
from search_spaces.loss import Loss, Weighted
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.operations.conv import Conv
from search_spaces.preset import Preset
from search_spaces.recipe import Augmentation, Recipe
from search_spaces.register import entry
from search_spaces.skips.concat import Concat


@entry("unet")
@dataclass(frozen=True, slots=True)
class UNet(Preset):
    """The network of the paper at its full width."""

    title: ClassVar[str] = "U-Net, 64 to 1024 channels"
    paper: ClassVar[str] = "Ronneberger et al. 2015, U-Net, arXiv:1505.04597"
    note: ClassVar[str] = (
        "Convolutions are padded and followed by batch normalisation, as in the re-writes whose parameter count is "
        "known; the recipe is AdamW with a cosine schedule instead of SGD with momentum 0.99."
    )
    channels: ClassVar[tuple[int, int]] = (3, 1)
    parameters: ClassVar[int] = 31_037_633  # five independent re-writes: BN, no bias before it, 3 -> 1

    def candidate(self) -> Candidate:
        cell = chain(Conv(3), Conv(3))
        architecture = Architecture(
            encoder=Cells(cell, width=64, widest=1024, stages=5),
            context=NoContext(),
            skip=Concat(),
            decoder=UNetDecoder(cell),
        )
        recipe = Recipe(
            learning_rate=1e-3, augmentation=Augmentation(rotate_deg=10.0, zoom=0.1, intensity=0.1)
        )
        return Candidate(architecture, Loss((Weighted(CrossEntropy()),)), recipe)
