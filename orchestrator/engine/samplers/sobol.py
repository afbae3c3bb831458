"""Quasi-random search: the points of a scrambled Sobol sequence in the cube of the encoding.

Source: see ``Encoding.quasi_random``.
Deviations: the seed moves a point within its cell, so that proposals differ between seeds and a point that was turned down
    has others beside it; which cells come when is the same in every search.
"""

from dataclasses import dataclass

from orchestrator.engine.encoding import encoding_of
from orchestrator.engine.sampler import History, Sampler
from search_spaces.candidate import Candidate
from search_spaces.register import entry
from search_spaces.space import Space


@entry("sobol")
@dataclass(frozen=True, slots=True)
class QuasiRandom(Sampler):
    """Fills the space evenly: proposal n is point n of the sequence.

    Attributes:
        scramble: Another number is another sequence.
    """

    scramble: int = 0

    def propose(self, space: Space, history: History, *, seed: int) -> Candidate:
        """The next point."""
        return encoding_of(space).quasi_random(len(history.observations), seed=seed, scramble=self.scramble)
