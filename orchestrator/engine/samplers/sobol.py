"""Quasi-random search: the points of a scrambled Sobol sequence in the cube of the encoding.

Source: Owen 1998, "Scrambling Sobol' and Niederreiter-Xing points"; scipy.stats.qmc.
Deviations: the seed moves a point within its cell, so that proposals differ between seeds and a point that was turned down
    has others beside it; which cells come when is the same in every search.
"""

import functools
import random
from dataclasses import dataclass

from scipy.stats import qmc

from orchestrator.engine.encoding import encoding_of
from orchestrator.engine.sampler import History, Sampler
from search_spaces.candidate import Candidate
from search_spaces.register import entry
from search_spaces.space import Space

BLOCK = 256


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
        encoding = encoding_of(space)
        number = len(history.observations)
        point = _points(len(encoding.axes), self.scramble, number // BLOCK)[number % BLOCK]
        rng = random.Random(seed)
        cell = 1.0 / BLOCK
        return encoding.candidate([(at // cell + rng.random()) * cell for at in point])


@functools.lru_cache(maxsize=64)
def _points(axes: int, scramble: int, block: int) -> list[list[float]]:
    sequence = qmc.Sobol(axes, scramble=True, rng=scramble)
    if block:
        sequence.fast_forward(block * BLOCK)
    points: list[list[float]] = sequence.random(BLOCK).tolist()
    return points
