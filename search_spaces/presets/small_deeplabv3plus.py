"""DeepLabV3+ at a width for small images and laptops.

Source: Chen et al. 2018, "Encoder-decoder with atrous separable convolution for semantic image segmentation",
    Figure 2, arXiv:1802.02611.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.cell import chain
from search_spaces.contexts.aspp import Aspp
from search_spaces.decoders.deeplab import DeepLabDecoder
from search_spaces.encoders.cells import Cells
from search_spaces.loss import Loss, Weighted
from search_spaces.losses.cross_entropy import CrossEntropy
from search_spaces.losses.dice import Dice
from search_spaces.operations.conv import Conv
from search_spaces.preset import Preset
from search_spaces.recipe import Augmentation, Recipe
from search_spaces.register import entry
from search_spaces.skips.concat import Concat


@entry("small_deeplabv3plus")
@dataclass(frozen=True, slots=True)
class SmallDeepLabV3Plus(Preset):
    """Residual encoder to stride 16, atrous pyramid, one fusion at half the input's size."""

    title: ClassVar[str] = "DeepLabV3+, 16 to 128 channels"
    paper: ClassVar[str] = "Chen et al. 2018, DeepLabV3+, arXiv:1802.02611"
    note: ClassVar[str] = (
        "A residual encoder of two convolutions a stage instead of Xception; rates 1, 2, 4 instead of 6, 12, 18, as "
        "features of 64-pixel images have 4 pixels at stride 16; fusion at stride 2 instead of 4, as small objects "
        "are lost otherwise; batch normalisation throughout; Dice and cross-entropy in equal parts; AdamW with a "
        "cosine schedule."
    )
    channels: ClassVar[tuple[int, int]] = (1, 3)
    parameters: ClassVar[int] = 455_059

    def candidate(self) -> Candidate:
        architecture = Architecture(
            encoder=Cells(chain(Conv(3), Conv(3), residual=True), width=16, widest=128, stages=4, stem=2),
            context=Aspp(rates=(1, 2, 4), width=32),
            skip=Concat(),
            decoder=DeepLabDecoder(chain(Conv(3), Conv(3)), width=32, low_level=0, low_width=16),
        )
        recipe = Recipe(
            learning_rate=2e-3,
            weight_decay=1e-2,
            warmup=0.05,
            augmentation=Augmentation(rotate_deg=10.0, zoom=0.1, intensity=0.1),
        )
        return Candidate(architecture, Loss((Weighted(CrossEntropy()), Weighted(Dice()))), recipe)
