"""U-Net at a width for small images and laptops, its first level at the size of the image.

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
from search_spaces.losses.dice import Dice
from search_spaces.operations.conv import Conv
from search_spaces.preset import Preset
from search_spaces.recipe import Augmentation, Recipe
from search_spaces.register import entry
from search_spaces.skips.concat import Concat


@entry("small_unet_full")
@dataclass(frozen=True, slots=True)
class SmallUNetFull(Preset):
    """Four levels of 16 to 128 channels, the finest at the input's size: fine borders for four times the steps' price."""

    title: ClassVar[str] = "U-Net, 16 to 128 channels, at full size"
    paper: ClassVar[str] = "Ronneberger et al. 2015, U-Net, arXiv:1505.04597"
    note: ClassVar[str] = (
        "A quarter of the width and one level less; padded convolutions with batch normalisation; bilinear "
        "upsampling; Dice and cross-entropy in equal parts; AdamW with a cosine schedule. `small_unet` without its "
        "stride: a step takes about three times as long, borders are finer."
    )
    channels: ClassVar[tuple[int, int]] = (1, 3)
    parameters: ClassVar[int] = 450_339

    def candidate(self) -> Candidate:
        cell = chain(Conv(3), Conv(3))
        architecture = Architecture(
            encoder=Cells(cell, width=16, widest=128, stages=4, stem=1),
            context=NoContext(),
            skip=Concat(),
            decoder=UNetDecoder(cell, upsample="bilinear"),
        )
        recipe = Recipe(
            learning_rate=2e-3,
            weight_decay=1e-2,
            warmup=0.05,
            augmentation=Augmentation(rotate_deg=20.0, zoom=0.2, intensity=0.2),
        )
        return Candidate(architecture, Loss((Weighted(CrossEntropy()), Weighted(Dice()))), recipe)
