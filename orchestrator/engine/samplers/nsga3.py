"""NSGA-III: Optuna's, over the fixed-width encoding; for three objectives or more.

Source: Deb and Jain 2014, "An evolutionary many-objective optimization algorithm using reference-point-based nondominated
    sorting approach, part I".
Deviations: generations follow from the history, see ``engine.study.ask_generation``.
"""

from dataclasses import dataclass

import optuna

from orchestrator.engine.sampler import History, Sampler
from orchestrator.engine.study import ask_generation
from search_spaces.candidate import Candidate
from search_spaces.register import entry
from search_spaces.space import Space


@entry("nsga3")
@dataclass(frozen=True, slots=True)
class Nsga3(Sampler):
    """Children of the best generation by front and reference points.

    Attributes:
        population: Trials of a generation; smaller than Optuna's 50, as a search has tens to hundreds of trials.
    """

    population: int = 20

    def propose(self, space: Space, history: History, *, seed: int) -> Candidate:
        """A child of two parents of the last full generation, at the highest rung that has one."""
        return ask_generation(
            space, history, optuna.samplers.NSGAIIISampler, population=self.population, seed=seed
        )
