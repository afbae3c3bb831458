"""The losses of a network that finds objects."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from search_spaces.loss import Cost, LossTerm, Role
from search_spaces.register import entry
from search_spaces.scores import Need, Scores


@entry("detection")
@dataclass(frozen=True, slots=True)
class Detection(LossTerm):
    """Sum of the losses that a network which finds objects has itself: of proposals, boxes, classes and masks.

    It goes with the decoder ``mask_rcnn``, and alone, as this network paints no logits in training. Objects are connected
    components of each class but the first, as labels hold classes only: two objects of one class that touch are one. Ignored
    pixels belong to no object; boxes that are mostly of them teach nothing, and neither does a sample without labels.

    Source: He et al. 2017, "Mask R-CNN", section 3, L = L_cls + L_box + L_mask, arXiv:1703.06870; Ren et al. 2015, "Faster
        R-CNN", Eq. 1, arXiv:1506.01497, for proposals.
    Deviations: the two losses of proposals are weighed alike, as torchvision does.
    """

    role: ClassVar[Role] = "region"
    of_logits: ClassVar[bool] = False
    needs: ClassVar[frozenset[Need]] = frozenset({"objects", "detection"})
    cost: ClassVar[Cost] = "forward"

    def value(self, scores: Scores) -> Tensor:
        scores.check_labels()
        labels = scores.target.masked_fill(~scores.valid, -1)
        return scores.detection(labels, scores.objects).float().sum()
