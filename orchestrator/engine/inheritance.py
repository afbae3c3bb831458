"""Who may pass weights on, and which checkpoints trials still wait for.

A child begins with the weights that its parent was last scored with. What it scores then compares within its search, which
selects among children, but says less about its architecture than a training from the start; so other searches do not take it
for evidence of equal worth (``warm_start``), it is no full training that may be reused, and winners are trained anew.
"""

from collections import defaultdict
from collections.abc import Set
from typing import TYPE_CHECKING

from orchestrator.engine.trial import Parent, Trial

if TYPE_CHECKING:
    from orchestrator.engine.state import State
    from search_spaces.space import Space, Trace


def parent_of(state: "State", space: "Space", trace: "Trace | None") -> Parent | None:
    """The trial of these choices, if its weights may be passed on: none that diverged or is beyond a limit.

    Evidence of another search is no trial of this one.
    """
    from search_spaces.candidate import digest
    from search_spaces.space import decode

    if trace is None:
        return None
    number = state.digests.get(digest(decode(space, trace)))
    if number is None:
        return None
    trial = state.trials[number]
    if trial.checkpoint is None or trial.violation > 0 or trial.verdict == "diverged":
        return None
    return Parent(trial.number, trial.epoch, trial.checkpoint)


class Heirs:
    """Trials that wait for the weights of another one, by the checkpoint that holds them."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[int]] = defaultdict(set)

    def update(self, trial: Trial) -> None:
        """Take note of how a trial stands now: it waits until its first epoch, and for good only where it will never run."""
        if trial.parent is None:
            return
        place = trial.parent.checkpoint
        if trial.epoch == 0 and trial.verdict in (None, "stopped"):  # an extension takes up who was stopped
            self._waiting[place].add(trial.number)
        elif place in self._waiting:
            self._waiting[place].discard(trial.number)
            if not self._waiting[place]:
                del self._waiting[place]

    @property
    def places(self) -> Set[str]:
        """The checkpoints that trials wait for."""
        return self._waiting.keys()

    def need(self, checkpoint: str) -> bool:
        """Whether a trial waits for this checkpoint."""
        return checkpoint in self._waiting
