"""Presets: surveyed systems as candidates, starting points of every search."""

from abc import ABC, abstractmethod
from typing import ClassVar

from search_spaces.candidate import Candidate
from search_spaces.errors import NotInSpaceError
from search_spaces.register import Entry, kinds, lookup
from search_spaces.space import Space, encode


class Preset(Entry, ABC):
    """Contract: a candidate, and where it comes from.

    Attributes:
        title: One line for lists.
        paper: Authors, year, title, identifier.
        note: What differs from the paper, and why.
        channels: Image channels and classes to which ``parameters`` refers.
        parameters: Trainable parameters that the network must have, in ``ndim`` dimensions.
        ndim: Spatial dimensions of the published network.
    """

    family: ClassVar[str] = "preset"
    folder: ClassVar[str] = "search_spaces.presets"
    title: ClassVar[str]
    paper: ClassVar[str]
    note: ClassVar[str]
    channels: ClassVar[tuple[int, int]]
    parameters: ClassVar[int]
    ndim: ClassVar[int] = 2

    @abstractmethod
    def candidate(self) -> Candidate:
        """The system as a candidate."""


def load_preset(name: str) -> Preset:
    """A preset by its name.

    Raises:
        UnknownKindError: There is none of this name; the nearest one is offered.
    """
    return lookup(Preset, name)()  # type: ignore[type-abstract]  # entries are concrete


def preset_names() -> tuple[str, ...]:
    """Names of all presets, sorted."""
    return kinds(Preset)


def preset_candidates(space: Space) -> list[tuple[str, Candidate]]:
    """Name and candidate of each preset that a space holds."""
    found = []
    for name in preset_names():
        candidate = load_preset(name).candidate()
        try:
            encode(space, candidate)
        except NotInSpaceError:
            continue
        found.append((name, candidate))
    return found
