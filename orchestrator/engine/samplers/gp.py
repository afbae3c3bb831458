"""Gaussian process: Optuna's, over the fixed-width encoding.

Source: Optuna 5, ``GPSampler``: Matern 5/2 kernel with a length for each axis, logarithmic expected improvement (Ament et al.
    2023, arXiv:2310.20708), of the hypervolume where there are several objectives.
Deviations: it sees the newest ``most`` scores only, as its time grows with their cube; trials that failed are not shown.
"""

import random
from dataclasses import dataclass

import optuna

from orchestrator.engine.sampler import History, Sampler
from orchestrator.engine.study import Shown, ask_encoded, highest_rung
from search_spaces.candidate import Candidate
from search_spaces.register import entry
from search_spaces.space import Space, sample


@entry("gp")
@dataclass(frozen=True, slots=True)
class GaussianProcess(Sampler):
    """Optuna's GP sampler; seconds a proposal, so for searches whose trials take minutes.

    Attributes:
        startup: Proposals are random until a rung holds this many scores (Optuna's default, 10).
        most: Scores that the process is fitted to.
    """

    startup: int = 10
    most: int = 100

    def propose(self, space: Space, history: History, *, seed: int) -> Candidate:
        """The candidate of the best expected improvement at the highest rung that holds enough scores."""
        rung = highest_rung(history, self.startup)
        if rung is None:
            return sample(space, random.Random(seed))
        return ask_encoded(
            space,
            history,
            sampler=optuna.samplers.GPSampler(n_startup_trials=0, seed=seed % 2**32),
            shown=Shown(rung, self.most),
        )
