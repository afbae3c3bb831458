"""The sampler contract: what proposes the next candidate.

A sampler keeps nothing between asks. What it knows is the history that it is given, and its randomness is a seed, so the same
events propose the same candidate in any process.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from search_spaces.candidate import Candidate
from search_spaces.register import Entry
from search_spaces.space import Space, Trace

State = Literal["scored", "running", "failed", "rejected"]


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known about one proposal.

    Attributes:
        trace: The candidate as choices of the space.
        state: ``scored`` has values; ``running`` has none yet; ``failed`` diverged, ran out of memory or crashed;
            ``rejected`` was turned down before training, or after an epoch that told of an excess.
        scores: At every rung that the trial reached: its epoch, and the value of each objective, the learning one
            first, negated where it is minimised: more is better.
        violation: Relative excess over a limit of the job; > 0 for ``failed`` and ``rejected``, 0 otherwise.
    """

    trace: Trace
    state: State
    scores: tuple[tuple[int, tuple[float, ...]], ...] = ()
    violation: float = 0.0


@dataclass(frozen=True, slots=True)
class History:
    """All proposals of a search so far.

    Attributes:
        observations: In order of proposal; a view, valid until the next event, so a sampler that does not look pays nothing.
        rungs: Epochs of the rungs, rising.
        num_objectives: Length of each score.
    """

    observations: Sequence[Observation]
    rungs: tuple[int, ...]
    num_objectives: int = 1


@dataclass(frozen=True, slots=True)
class Sampler(Entry):
    """A way to propose candidates; the fields of an entry are its settings."""

    family: ClassVar[str] = "sampler"
    folder: ClassVar[str] = "orchestrator.engine.samplers"
    kind: ClassVar[str] = ""

    @abstractmethod
    def propose(self, space: Space, history: History, *, seed: int) -> Candidate:
        """The next candidate; any candidate of the space, an earlier one included."""


@dataclass(frozen=True, slots=True)
class Child:
    """A candidate, and the choices of the trial that it is a change of; None where it was drawn from the space."""

    candidate: Candidate
    parent: Trace | None


@dataclass(frozen=True, slots=True)
class Breeder(Sampler):
    """A sampler whose candidates are changes of earlier ones, so that they may begin with what these learned."""

    @abstractmethod
    def breed(self, space: Space, history: History, *, seed: int) -> Child:
        """The next candidate and its parent."""

    def propose(self, space: Space, history: History, *, seed: int) -> Candidate:
        """The next candidate."""
        return self.breed(space, history, seed=seed).candidate
