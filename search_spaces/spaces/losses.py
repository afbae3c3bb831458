"""``losses``: one small U-Net and one recipe, with every loss of the grammar. What it finds is due to the loss alone."""

from dataclasses import replace

from search_spaces.candidate import Candidate
from search_spaces.loss_space import choose_loss
from search_spaces.preset import load_preset
from search_spaces.space import Choose


def losses(choose: Choose) -> Candidate:
    """The ``small_unet`` preset with another loss: an anchor, and up to four further terms."""
    return replace(load_preset("small_unet").candidate(), loss=choose_loss(choose))
