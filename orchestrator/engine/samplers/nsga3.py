"""NSGA-III: Optuna's, over the fixed-width encoding; for three objectives or more.

Source: Deb and Jain 2014, "An evolutionary many-objective optimization algorithm using reference-point-based nondominated
    sorting approach, part I".
Deviations: a generation is the next ``population`` trials that reached the rung, in order of proposal, so it follows from
    the history alone and no slot waits for the last of a generation.
"""

import random
import warnings
from dataclasses import dataclass

import optuna
from optuna.exceptions import ExperimentalWarning

from orchestrator.engine.sampler import History, Sampler
from orchestrator.engine.study import Shown, ask_encoded, highest_rung
from search_spaces.candidate import Candidate
from search_spaces.register import entry
from search_spaces.space import Space, sample


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
        rung = highest_rung(history, self.population)
        if rung is None:
            return sample(space, random.Random(seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = optuna.samplers.NSGAIIISampler(population_size=self.population, seed=seed % 2**32)
        return ask_encoded(
            space,
            history,
            sampler=sampler,
            shown=Shown(rung),
            attributes=lambda place: {"NSGAIIISampler:generation": place // self.population},
        )
