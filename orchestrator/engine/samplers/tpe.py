"""Tree-structured Parzen estimator: Optuna's, for one objective or several.

Source: Bergstra et al. 2011, "Algorithms for hyper-parameter optimization", section 4; several objectives: Ozaki et al. 2022,
    "Multiobjective tree-structured Parzen estimator". Proposals that broke a limit are ranked below all others by their
    excess, as Optuna does.
Deviations: with one objective the estimator sees ranks over all rungs, as on a high rung alone there are only good trials,
    and it would learn to avoid the worse of these; of more than 500 scored trials it sees the best and the newest (``parzen``).
    With several it sees the newest ``most`` scores of the highest rung that holds enough, as its time grows with their square.
"""

import random
from dataclasses import dataclass

from orchestrator.engine.parzen import ask, ask_ranked
from orchestrator.engine.sampler import History, Sampler
from orchestrator.engine.study import highest_rung
from search_spaces.candidate import Candidate
from search_spaces.register import entry
from search_spaces.space import Space, sample


@entry("tpe")
@dataclass(frozen=True, slots=True)
class TreeParzen(Sampler):
    """Optuna's TPE, each decision by itself, with trials that still run counted as bad.

    Attributes:
        startup: Proposals are random until a rung holds this many scores (Optuna's default, 10).
        draws: Values among which the best expected improvement is taken (Optuna's default, 24).
        most: Scores seen where there are several objectives.
    """

    startup: int = 10
    draws: int = 24
    most: int = 200

    def propose(self, space: Space, history: History, *, seed: int) -> Candidate:
        """A candidate like the good ones: those that went furthest, and of these the best."""
        rung = highest_rung(history, self.startup)
        if rung is None:
            return sample(space, random.Random(seed))
        if history.num_objectives == 1:
            return ask_ranked(space, history, draws=self.draws, seed=seed)
        return ask(space, history, rung=rung, most=self.most, draws=self.draws, seed=seed)
