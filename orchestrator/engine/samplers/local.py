"""Local search: the neighbours of the best, one decision away; when all are known, those of the next best.

Source: White et al. 2021, "Exploring the loss landscape in neural architecture search", Algorithm 1, arXiv:2005.02960.
Deviations: neighbours are tried in random order and the search moves as soon as one is better, as in Ottelander et al. 2021,
    "Local search is a remarkably strong baseline for neural architecture search"; it does not end at a local optimum.
"""

import json
import random
from dataclasses import dataclass

from orchestrator.engine.population import best_first, scored
from orchestrator.engine.sampler import History, Sampler
from search_spaces.candidate import Candidate
from search_spaces.register import entry
from search_spaces.space import Space, decode, encode, neighbours, sample


@entry("local")
@dataclass(frozen=True, slots=True)
class Local(Sampler):
    """Climbs from the best of a few random candidates.

    Attributes:
        startup: Scored trials before the first step.
        centres: How many of the best are looked at before a candidate is drawn at random.
    """

    startup: int = 10
    centres: int = 5

    def propose(self, space: Space, history: History, *, seed: int) -> Candidate:
        """A neighbour, not yet proposed, of the best trial that has one."""
        rng = random.Random(seed)
        living = scored(history)
        if len(living) >= self.startup:
            known = {json.dumps(item.trace, sort_keys=True) for item in history.observations}
            for centre in best_first(living)[: self.centres]:
                near = neighbours(space, decode(space, centre.trace))
                for candidate in rng.sample(near, len(near)):
                    if json.dumps(encode(space, candidate), sort_keys=True) not in known:
                        return candidate
        return sample(space, rng)
