"""CMA-ES for the numbers of a candidate; what is no number is taken from one of the best.

Source: Hansen 2016, "The CMA evolution strategy: a tutorial", arXiv:1604.00772, as the package ``cmaes`` has it.
Deviations: the strategy is rebuilt at each proposal: the trials that reached the rung are told in blocks of a population, in
    order of proposal, whoever proposed them. Of several objectives the front and crowding rank a block.
"""

import random
import warnings
from dataclasses import dataclass

import numpy as np

from orchestrator.engine.encoding import Encoding, encoding_of
from orchestrator.engine.pareto import ranking
from orchestrator.engine.sampler import History, Sampler
from orchestrator.engine.study import highest_rung
from search_spaces.candidate import Candidate
from search_spaces.domain import Choice
from search_spaces.errors import SpaceError
from search_spaces.register import entry
from search_spaces.space import Space, sample

SIGMA = 0.25  # of the cube's edge, at the start


@entry("cmaes")
@dataclass(frozen=True, slots=True)
class CmaEs(Sampler):
    """Optuna's optional dependency ``cmaes``, over the numeric axes of the encoding.

    Attributes:
        startup: Proposals are random until a rung holds this many scores.
        best: Share of the rung's trials, best first, whose other decisions are taken over.
    """

    startup: int = 10
    best: float = 0.25

    def propose(self, space: Space, history: History, *, seed: int) -> Candidate:
        """Numbers drawn from the strategy's distribution, the rest of one of the best.

        Raises:
            SpaceError: The space has fewer than two numeric decisions, which is what the method needs.
        """
        encoding = encoding_of(space)
        axes = numeric_axes(encoding)
        if len(axes) < 2:
            raise SpaceError(
                f"search.sampler: 'cmaes' needs at least two numeric decisions, this space has {len(axes)}; use 'tpe'."
            )
        rung = highest_rung(history, self.startup)
        rng = random.Random(seed)
        if rung is None:
            return sample(space, rng)
        known = [
            (observation.trace, dict(observation.scores)[rung])
            for observation in history.observations
            if rung in dict(observation.scores) and observation.violation <= 0
        ]
        if not known:
            return sample(space, rng)
        points = [encoding.point(trace) for trace, _ in known]
        order = ranking([score for _, score in known], [0.0] * len(known))
        parent = points[order[int(rng.random() * max(1, int(self.best * len(order))))]]
        drawn = _draw([[point[axis] for axis in axes] for point in points], order, seed=seed)
        child = list(parent)
        for axis, value in zip(axes, drawn, strict=True):
            child[axis] = value
        return encoding.candidate(child)


def numeric_axes(encoding: Encoding) -> list[int]:
    """Axes of numbers that have more than one value."""
    return [
        index
        for index, path in enumerate(encoding.axes)
        if encoding.is_numeric(path)
        and any(not isinstance(d, Choice) or len(d.options) > 1 for d in encoding.domains[path])
    ]


def _draw(points: list[list[float]], order: list[int], *, seed: int) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a package that is told what it did not ask for
        import cmaes

        strategy = cmaes.CMA(
            mean=np.full(len(points[0]), 0.5),
            sigma=SIGMA,
            bounds=np.tile([0.0, 1.0], (len(points[0]), 1)),
            seed=seed % 2**32,
        )
        rank = {index: place for place, index in enumerate(order)}
        size = strategy.population_size
        for start in range(0, len(points) - size + 1, size):
            strategy.tell(
                [(np.array(points[index]), float(rank[index])) for index in range(start, start + size)]
            )
        found: list[float] = strategy.ask().tolist()
    return found
