"""``attention``: networks that weigh where and what: gates, dual, pyramid and scale attention, BiSeNet."""

from search_spaces.candidate import Candidate
from search_spaces.space import Choose
from search_spaces.span import span

SYSTEMS = (
    "small_unet",
    "attention_unet",
    "danet",
    "pan",
    "bisenet",
    "residual_attention",
    "attention_to_scale",
)


def attention(choose: Choose) -> Candidate:
    """Networks that weigh where and what: gates, dual, pyramid and scale attention, BiSeNet."""
    return span(choose, SYSTEMS)
