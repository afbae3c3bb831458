"""``medical_3d``: networks for volumes: V-Net, V-NAS, reversible and residual U-Nets."""

from search_spaces.candidate import Candidate
from search_spaces.space import Choose
from search_spaces.span import span

SYSTEMS = ("small_unet", "unet", "vnet", "vnas", "reversible_unet", "attention_unet_3d", "fc_resnet")


def medical_3d(choose: Choose) -> Candidate:
    """Networks for volumes: V-Net, V-NAS, reversible and residual U-Nets."""
    return span(choose, SYSTEMS)
