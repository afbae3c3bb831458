"""The proposals of a search as samplers see them, kept up to date trial by trial."""

from orchestrator.engine.objective import mean_vector
from orchestrator.engine.sampler import History, Observation
from orchestrator.engine.state import Rejected, State
from orchestrator.engine.trial import Trial


class Memory:
    """Observations of a search, in order of proposal.

    Args:
        rungs: Epochs at which scores are shown.
        num_objectives: Length of each score.
    """

    def __init__(self, rungs: tuple[int, ...], num_objectives: int) -> None:
        self._rungs = rungs
        self._num_objectives = num_objectives
        self._observations: list[Observation] = []
        self._place: dict[int, int] = {}  # of a trial
        self._seen = 0  # proposals of the state
        self._changed: dict[int, Trial] = {}

    def update(self, trial: Trial) -> None:
        """Take note that a trial of the search changed."""
        self._changed[trial.number] = trial

    def history(self, state: State) -> History:
        """What a sampler is given now."""
        for proposal in state.proposals[self._seen :]:
            if isinstance(proposal, Trial):
                self._place[proposal.number] = len(self._observations)
                self._observations.append(self._observed(state, proposal))
            elif proposal.violation > 0:
                self._observations.append(_turned_down(proposal))
        self._seen = len(state.proposals)
        for trial in self._changed.values():
            number = state.digests.get(trial.digest) if trial.is_repeat else trial.number
            if number in self._place:
                self._observations[self._place[number]] = self._observed(state, state.trials[number])
        self._changed.clear()
        return History(self._observations, self._rungs, self._num_objectives)

    def _observed(self, state: State, trial: Trial) -> Observation:
        group = (trial, *state.repeats.get(trial.digest, ()))
        scores = tuple(
            (epoch, mean_vector([t.scores[epoch] for t in group if epoch in t.scores]))
            for epoch in self._rungs
            if epoch in trial.scores
        )
        match trial.status:
            case "diverged" | "out_of_memory":
                return Observation(trial.trace, "failed", violation=1.0)
            case "failed" if not scores:
                return Observation(trial.trace, "failed", violation=1.0)
            case "waiting" | "running":
                return Observation(trial.trace, "running", scores)
        return Observation(trial.trace, "scored", scores)


def _turned_down(proposal: Rejected) -> Observation:
    return Observation(proposal.trace, "rejected", violation=proposal.violation)
