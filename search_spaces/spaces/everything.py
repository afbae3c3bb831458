"""``everything``: all surveyed systems and all entries, each part with each other that it goes with."""

import functools

from search_spaces.candidate import Candidate
from search_spaces.preset import load_preset, preset_names
from search_spaces.space import Choose
from search_spaces.span import span


def everything(choose: Choose) -> Candidate:
    """Every part of every preset, and every other entry, combined anew where they go together.

    Without what finds objects, whose loss goes with nothing else: that is the space ``mask_rcnn``.
    """
    return span(choose, _systems(), every_kind=True)


@functools.cache
def _systems() -> tuple[str, ...]:
    finds = {
        name: load_preset(name).candidate().architecture.decoder.finds_objects for name in preset_names()
    }
    return tuple(name for name, objects in finds.items() if not objects)
