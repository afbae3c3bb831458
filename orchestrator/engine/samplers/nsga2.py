"""NSGA-II: Optuna's, over the fixed-width encoding.

Source: Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II".
Deviations: generations follow from the history, see ``engine.study.ask_generation``.
"""

from dataclasses import dataclass

import optuna

from orchestrator.engine.sampler import History, Sampler
from orchestrator.engine.study import ask_generation
from search_spaces.candidate import Candidate
from search_spaces.register import entry
from search_spaces.space import Space


@entry("nsga2")
@dataclass(frozen=True, slots=True)
class Nsga2(Sampler):
    """Children of the best generation by front and crowding.

    Attributes:
        population: Trials of a generation; smaller than Optuna's 50, as a search has tens to hundreds of trials.
    """

    population: int = 20

    def propose(self, space: Space, history: History, *, seed: int) -> Candidate:
        """A child of two parents of the last full generation, at the highest rung that has one."""
        return ask_generation(
            space, history, optuna.samplers.NSGAIISampler, population=self.population, seed=seed
        )
