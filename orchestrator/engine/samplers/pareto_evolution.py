"""Pareto evolution: children of the front of several objectives, the lonely parts of it first.

Source: selection by front and crowding of Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II";
    mutation of single decisions as in Elsken et al. 2019, "Efficient multi-objective neural architecture search via
    Lamarckian evolution", arXiv:1804.09081, Algorithm 1.
Deviations: no generations; all trials may be parents, and none dies. With one objective the best are the front.
"""

import random
from dataclasses import dataclass

from orchestrator.engine.population import best_first, child, scored
from orchestrator.engine.sampler import Breeder, Child, History
from search_spaces.register import entry
from search_spaces.space import Space, sample


@entry("pareto_evolution")
@dataclass(frozen=True, slots=True)
class ParetoEvolution(Breeder):
    """Elitist evolution over candidates.

    Attributes:
        startup: Scored trials before the first child.
        parents: The best trials that may be parents.
        crossed: Probability of a second parent.
    """

    startup: int = 10
    parents: int = 16
    crossed: float = 0.25

    def breed(self, space: Space, history: History, *, seed: int) -> Child:
        """A child of the front and of what is nearest to it."""
        rng = random.Random(seed)
        living = scored(history)
        if len(living) < self.startup:
            return Child(sample(space, rng), None)
        ranked = best_first(living)[: self.parents]
        return child(space, ranked, rng, entrants=2, crossed=self.crossed)
