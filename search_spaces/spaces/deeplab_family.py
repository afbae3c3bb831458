"""``deeplab_family``: dilated encoders with a context module: DeepLabV3 and V3+, PSPNet, DPC, hybrid dilation."""

from search_spaces.candidate import Candidate
from search_spaces.space import Choose
from search_spaces.span import span

SYSTEMS = (
    "small_deeplabv3plus",
    "deeplabv3_resnet50",
    "deeplabv3plus_resnet50",
    "deeplabv3plus_resnet101",
    "deeplabv3plus_xception",
    "pspnet50",
    "dpc",
    "hdc_duc",
    "fcn_resnet50",
)


def deeplab_family(choose: Choose) -> Candidate:
    """Dilated encoders with a context module: DeepLabV3 and V3+, PSPNet, DPC, hybrid dilation."""
    return span(choose, SYSTEMS)
