"""Regularised evolution: children of the best of a random few of the newest trials; the oldest die, however good.

Source: Real et al. 2019, "Regularized evolution for image classifier architecture search", Algorithm 1, arXiv:1802.01548.
Deviations: trials at different rungs are compared as ``engine.population`` says; a child has one to three changes and now and
    then two parents; proposals are made as slots come free, not one after the other.
"""

import random
from dataclasses import dataclass

from orchestrator.engine.population import best_first, child, scored
from orchestrator.engine.sampler import Breeder, Child, History
from search_spaces.register import entry
from search_spaces.space import Space, sample


@entry("evolution")
@dataclass(frozen=True, slots=True)
class Evolution(Breeder):
    """Ageing evolution over candidates.

    Attributes:
        startup: Scored trials before the first child.
        population: The newest trials that may be parents.
        entrants: Of which the best is a parent.
        crossed: Probability of a second parent.
    """

    startup: int = 10
    population: int = 50
    entrants: int = 8
    crossed: float = 0.25

    def breed(self, space: Space, history: History, *, seed: int) -> Child:
        """A child of the population."""
        rng = random.Random(seed)
        living = scored(history)[-self.population :]
        if len(living) < self.startup:
            return Child(sample(space, rng), None)
        return child(space, best_first(living), rng, entrants=self.entrants, crossed=self.crossed)
