"""Random search: every proposal drawn from the space, whatever came before."""

import random
from dataclasses import dataclass

from orchestrator.engine.sampler import History, Sampler
from search_spaces.candidate import Candidate
from search_spaces.register import entry
from search_spaces.space import Space, sample


@entry("random")
@dataclass(frozen=True, slots=True)
class Independent(Sampler):
    """Draws each decision from its domain."""

    def propose(self, space: Space, history: History, *, seed: int) -> Candidate:
        """A candidate at random; the history is not looked at."""
        return sample(space, random.Random(seed))
