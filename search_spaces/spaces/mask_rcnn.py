"""``mask_rcnn``: networks that find objects, from the published size down to small images on few cores.

Source: He et al. 2017, "Mask R-CNN", arXiv:1703.06870, and the depths of its Table 1.
Deviations: widths, boxes and anchors are choices, as data sets are smaller here; so are ResNet-18 and 34.
"""

from typing import Literal

from search_spaces.architecture import Architecture
from search_spaces.candidate import Candidate
from search_spaces.contexts.none import NoContext
from search_spaces.decoders.mask_rcnn import MaskRcnn
from search_spaces.domain import Choice
from search_spaces.encoders.resnet import Resnet
from search_spaces.layers import Norm
from search_spaces.loss import Loss, Weighted
from search_spaces.losses.detection import Detection
from search_spaces.preprocessing import Preprocessing
from search_spaces.skips.none import NoSkip
from search_spaces.space import Choose
from search_spaces.training_choices import choose_intensity, choose_recipe

DEPTHS: tuple[Literal[18, 34, 50, 101], ...] = (18, 34, 50, 101)
NORMS: tuple[Norm, ...] = ("batch", "instance", "group")


def mask_rcnn(choose: Choose) -> Candidate:
    """Encoder, width of the pyramid, boxes and anchors, and how all is trained; the loss is ``detection``."""
    encoder, decoder = "architecture.encoder", "architecture.decoder"
    return Candidate(
        Architecture(
            encoder=Resnet(
                depth=choose(f"{encoder}.depth", Choice(DEPTHS)),
                width=choose(f"{encoder}.width", Choice((64, 32, 16))),
            ),
            context=NoContext(),
            skip=NoSkip(),
            decoder=MaskRcnn(
                width=choose(f"{decoder}.width", Choice((256, 128, 64, 32))),
                hidden=choose(f"{decoder}.hidden", Choice((1024, 256, 64))),
                proposals=choose(f"{decoder}.proposals", Choice((1000, 300, 100))),
                detections=choose(f"{decoder}.detections", Choice((100, 50, 20))),
                samples=choose(f"{decoder}.samples", Choice((512, 256, 64))),
                anchor=choose(f"{decoder}.anchor", Choice((8, 4, 2))),
            ),
            norm=choose("architecture.norm", Choice(NORMS)),
        ),
        Loss((Weighted(Detection()),)),
        choose_recipe(choose),
        Preprocessing(intensity=choose_intensity(choose)),
    )
