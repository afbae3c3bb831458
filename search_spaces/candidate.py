"""A candidate: a point of a space, with one canonical form and one digest."""

import json
from dataclasses import dataclass, field

from search_spaces.architecture import Architecture
from search_spaces.codec import canonical, from_json, json_text, text_digest, to_json
from search_spaces.errors import SpaceError
from search_spaces.foreign import foreign_code
from search_spaces.loss import Loss
from search_spaces.preprocessing import Preprocessing
from search_spaces.recipe import Recipe

__all__ = ["Candidate", "architecture_digest", "canonical", "digest", "from_json", "to_json"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Everything that a trial may choose.

    Attributes:
        architecture: The network.
        loss: What training minimises.
        recipe: How it is trained.
        preprocessing: What is done to a case before the network sees it.
    """

    architecture: Architecture
    loss: Loss
    recipe: Recipe = field(default_factory=Recipe)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def __post_init__(self) -> None:
        if self.loss.of_logits == self.architecture.decoder.finds_objects:
            raise SpaceError(_unfit(self))


def digest(candidate: Candidate) -> str:
    """Name of a candidate: BLAKE2b-128 of its canonical JSON, the same in every process.

    Where a user's own entries take part, their code does too: another formula under the same name is another candidate.
    """
    return _digest(candidate)


def architecture_digest(candidate: Candidate) -> str:
    """Name of the network alone; weights fit wherever it is the same."""
    return _digest(candidate.architecture)


def _unfit(candidate: Candidate) -> str:
    """Why a loss cannot train a network."""
    decoder = candidate.architecture.decoder.kind
    kinds = ", ".join(weighted.term.kind for weighted in candidate.loss.terms)
    if candidate.architecture.decoder.finds_objects:
        return (
            f"loss.terms: {kinds} given, but the decoder {decoder} is trained by losses of its own; "
            "choose the term detection alone."
        )
    return (
        f"loss.terms: {kinds} takes its value from a network that finds objects, which the decoder {decoder} does not; "
        "choose the decoder mask_rcnn, or another loss."
    )


def _digest(value: object) -> str:
    text, code = json_text(canonical(value)), foreign_code(value)
    return text_digest(text if not code else f"{text}{json.dumps(code, sort_keys=True)}")
