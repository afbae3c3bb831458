"""Screening: proposals whose zero-cost score is low beside those of others are turned down before training.

The pool moves: it is a proposal and the newest others that were scored, whether they were trained or turned down. So each
proposal is judged when the sampler makes it, with all that the sampler knows by then, and none waits in a queue. After seven
in a row the next passes, so that a sampler that insists has its way.

Scores are in the events (``profile`` of ``asked``, ``value`` of ``rejected``), so a replay computes none.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.engine.events import Draft
from orchestrator.engine.trial import Trial
from search_spaces.domain import Scalar

if TYPE_CHECKING:
    from orchestrator.engine.state import State
    from search_spaces.candidate import Candidate
    from search_spaces.space import Trace

Key = tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True, slots=True)
class Screening:
    """What is turned down.

    Attributes:
        score: Name of the zero-cost score.
        drop: Share of a pool that is turned down, the lowest scores; rounded down, and a tie passes.
        among: Proposals in a full pool. The first proposals meet a smaller one.
        measure: The score of a candidate, the higher the better; -inf is always turned down.
    """

    score: str
    drop: float
    among: int
    measure: "Callable[[Candidate], float]"

    def bar(self, own: float, others: Sequence[float]) -> float:
        """The lowest score that passes in a pool of a proposal and some others."""
        pool = sorted((own, *others))
        return pool[num_dropped(self.drop, len(pool))]

    def others(self, state: "State", drafts: Iterable[Draft], trace: "Trace") -> list[float]:
        """The newest scores of candidates but this one, each candidate once.

        Args:
            state: The search.
            drafts: What was turned down since, in order.
            trace: Choices of the candidate that is judged.
        """
        known: dict[Key, float] = {}
        own = tuple(trace.items())
        for key, score in self._newest(state, drafts):
            if len(known) == self.among - 1:
                break
            if key != own:
                known.setdefault(key, score)
        return list(known.values())

    def _newest(self, state: "State", drafts: Iterable[Draft]) -> Iterator[tuple[Key, float]]:
        """Scored proposals, the newest first."""
        for draft in reversed(list(drafts)):
            if draft.body["reason"] == "score" and draft.body["value"] is not None:
                yield tuple(draft.body["trace"].items()), draft.body["value"]
        for proposal in reversed(state.proposals):
            score = proposal.profile.get(self.score) if isinstance(proposal, Trial) else proposal.score
            if score is not None and not (isinstance(proposal, Trial) and proposal.source in UNSCREENED):
                yield tuple(proposal.trace.items()), score


UNSCREENED = frozenset({"preset", "evidence"})
"""Sources of candidates that are known to be good: they are not screened, and set no bar for others."""


def num_dropped(drop: float, among: int) -> int:
    """How many of a pool are turned down."""
    return math.floor(round(drop * among, 9))  # 0.29 * 100 is a little less than 29
