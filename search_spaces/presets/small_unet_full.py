"""U-Net at a width for small images and laptops, its first level at the size of the image.

Source: Ronneberger et al. 2015, "U-Net: convolutional networks for biomedical image segmentation", Figure 1,
    arXiv:1505.04597.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from search_spaces.candidate import Candidate
from search_spaces.encoders.cells import Cells
from search_spaces.preset import Preset
from search_spaces.presets.small_unet import SmallUNet
from search_spaces.recipe import Augmentation
from search_spaces.register import entry


@entry("small_unet_full")
@dataclass(frozen=True, slots=True)
class SmallUNetFull(Preset):
    """Four levels of 16 to 128 channels, the finest at the input's size: fine borders for 3.7 times the multiply-adds."""

    title: ClassVar[str] = "U-Net, 16 to 128 channels, at full size"
    paper: ClassVar[str] = "Ronneberger et al. 2015, U-Net, arXiv:1505.04597"
    note: ClassVar[str] = (
        "A quarter of the width and one level less; padded convolutions with batch normalisation; bilinear "
        "upsampling; Dice and cross-entropy in equal parts; AdamW with a cosine schedule. `small_unet` without its "
        "stride and with stronger augmentation: a step takes about three times as long, borders are finer."
    )
    channels: ClassVar[tuple[int, int]] = (1, 3)
    parameters: ClassVar[int] = 450_339

    def candidate(self) -> Candidate:
        small = SmallUNet().candidate()
        assert isinstance(small.architecture.encoder, Cells)
        encoder = replace(small.architecture.encoder, stem=1)
        augmentation = Augmentation(rotate_deg=20.0, zoom=0.2, intensity=0.2)
        return replace(
            small,
            architecture=replace(small.architecture, encoder=encoder),
            recipe=replace(small.recipe, augmentation=augmentation),
        )
