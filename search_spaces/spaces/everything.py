"""``everything``: all surveyed systems and all entries, each part with each other that it goes with."""

from search_spaces.candidate import Candidate
from search_spaces.preset import preset_names
from search_spaces.space import Choose
from search_spaces.span import span


def everything(choose: Choose) -> Candidate:
    """Every part of every preset, and every other entry, combined anew where they go together."""
    return span(choose, preset_names(), every_kind=True)
