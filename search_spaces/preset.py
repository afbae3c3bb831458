"""Presets: surveyed systems as candidates, starting points of every search."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar, TypeVar

from search_spaces.candidate import Candidate, digest
from search_spaces.domain import Domain
from search_spaces.errors import NotInSpaceError
from search_spaces.loss_presets import loss_presets
from search_spaces.register import Entry, kinds, lookup
from search_spaces.space import Space, encode, trace_of

T = TypeVar("T")


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

    @property
    def counted_at(self) -> tuple[int, ...]:
        """The image size at which lists count it: 512², or 64³."""
        return (512, 512) if self.ndim == 2 else (64, 64, 64)

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
    """Name and candidate of each preset that a space holds; where it decides about the loss alone, of each named loss, too."""
    found = []
    for name in preset_names():
        candidate = load_preset(name).candidate()
        if holds(space, candidate):
            found.append((name, candidate))
    base = found[0][1] if found else _first_point(space)
    if all(path.startswith("loss.") for path in encode(space, base)):
        known = {digest(candidate) for _, candidate in found}
        inside = [(name, candidate) for name, candidate in _with_losses(base) if holds(space, candidate)]
        found += [(name, candidate) for name, candidate in inside if digest(candidate) not in known]
    return found


def losses_inside(space: Space) -> dict[str, bool]:
    """Whether a space holds each named loss, whatever the rest of the candidate is."""
    return {name: holds(space, candidate) for name, candidate in _with_losses(_first_point(space))}


def holds(space: Space, candidate: Candidate) -> bool:
    """Whether a candidate is a point of a space."""
    try:
        encode(space, candidate)
    except NotInSpaceError:
        return False
    return True


def _first_point(space: Space) -> Candidate:
    """The candidate of all first choices."""

    def first(path: str, domain: Domain[T]) -> T:
        return domain.first

    return trace_of(space, first)[0]


def _with_losses(base: Candidate) -> list[tuple[str, Candidate]]:
    if base.architecture.decoder.finds_objects:  # which has a loss of its own
        return []
    return [(preset.name, replace(base, loss=preset.loss)) for preset in loss_presets()]
