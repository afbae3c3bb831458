"""DeepLabV3+ on Xception with separable convolutions.

Source: Chen et al. 2018, "Encoder-decoder with atrous separable convolution for semantic image segmentation",
    arXiv:1802.02611.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.candidate import Candidate
from search_spaces.contexts.aspp import Aspp
from search_spaces.dilated import xception_with
from search_spaces.preset import Preset
from search_spaces.register import entry
from search_spaces.start import start_from


@entry("deeplabv3plus_xception")
@dataclass(frozen=True, slots=True)
class DeepLabV3PlusXception(Preset):
    """Aligned Xception of output stride 16, separable atrous pyramid, fusion at stride 4, two separable convolutions."""

    title: ClassVar[str] = "DeepLabV3+, Xception-71, output stride 16"
    paper: ClassVar[str] = "Chen et al. 2018, DeepLabV3+, arXiv:1802.02611"
    note: ClassVar[str] = (
        "The paper's network for Cityscapes, of which 43.48 million parameters are known; pooled features "
        "of a batch of one image are normalised by the running statistics."
    )
    channels: ClassVar[tuple[int, int]] = (3, 19)
    parameters: ClassVar[int] = (
        43_477_323  # 19 classes; quoted as 43.48 M by Liu et al. 2019, arXiv:1901.02985
    )

    def candidate(self) -> Candidate:
        context = Aspp((6, 12, 18), width=256, image_norm=True, separable=True, dropout=0.1)
        return start_from(xception_with(context))
