"""Mask R-CNN on ResNet-50 with a feature pyramid.

Source: He et al. 2017, "Mask R-CNN", arXiv:1703.06870.
"""

from dataclasses import dataclass
from typing import ClassVar

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.mask_rcnn import MaskRcnn
from search_spaces.encoders.resnet import Resnet
from search_spaces.loss import Loss, Weighted
from search_spaces.losses.detection import Detection
from search_spaces.preset import Preset
from search_spaces.recipe import Augmentation, Recipe
from search_spaces.register import entry
from search_spaces.skips.none import NoSkip


@entry("mask_rcnn")
@dataclass(frozen=True, slots=True)
class MaskRcnnPreset(Preset):
    """Residual network, feature pyramid, proposals, boxes and masks; trained by its own losses."""

    title: ClassVar[str] = "Mask R-CNN, ResNet-50 with feature pyramid"
    paper: ClassVar[str] = "He et al. 2017, Mask R-CNN, arXiv:1703.06870"
    note: ClassVar[str] = (
        "As torchvision has it, whose 44,401,393 leave out the 53,120 numbers of the norms, which it takes from ImageNet and "
        "does not train; here they are trained, from scratch. Objects are painted into one map of classes."
    )
    channels: ClassVar[tuple[int, int]] = (3, 91)
    parameters: ClassVar[int] = 44_454_513  # torchvision's metadata has 44,401,393 for COCO, norms frozen

    def candidate(self) -> Candidate:
        architecture = Architecture(Resnet(50), NoContext(), NoSkip(), MaskRcnn())
        recipe = Recipe(
            learning_rate=3e-4,
            warmup=0.05,
            augmentation=Augmentation(rotate_deg=10.0, zoom=0.1, intensity=0.1),
        )
        return Candidate(architecture, Loss((Weighted(Detection()),)), recipe)
