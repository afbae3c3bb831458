"""The proposals of a search as samplers see them, kept up to date trial by trial; before them, identical evidence.

A candidate is one observation, whoever trained it: the scores of its seeds, those of other searches among them, are averaged.
"""

from orchestrator.engine.objective import mean_vector
from orchestrator.engine.sampler import History, Observation
from orchestrator.engine.state import Rejected, State
from orchestrator.engine.trial import Trial


class Memory:
    """Observations of a search: what others found first, then in order of proposal.

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
        self._known = 0  # pieces of evidence
        self._evidence: dict[str, list[Trial]] = {}  # by digest
        self._evidence_place: dict[str, int] = {}  # by digest
        self._changed: dict[int, Trial] = {}

    def update(self, trial: Trial) -> None:
        """Take note that a trial of the search changed."""
        self._changed[trial.number] = trial

    def history(self, state: State) -> History:
        """What a sampler is given now."""
        self._admit(state)
        for proposal in state.proposals[self._seen :]:
            if isinstance(proposal, Trial):
                place = self._evidence_place.get(proposal.digest, len(self._observations))
                self._place[proposal.number] = place
                self._observations[place : place + 1] = [self._observed(state, proposal)]
            elif proposal.violation > 0:
                self._observations.append(_turned_down(proposal))
        self._seen = len(state.proposals)
        for trial in self._changed.values():
            number = state.digests.get(trial.digest) if trial.is_repeat else trial.number
            if number in self._place:
                self._observations[self._place[number]] = self._observed(state, state.trials[number])
        self._changed.clear()
        return History(self._observations, self._rungs, self._num_objectives)

    def _admit(self, state: State) -> None:
        """Show what other searches found under the same conditions, a candidate once."""
        found = [item.trial for item in state.evidence.items[self._known :] if item.relation == "identical"]
        self._known = len(state.evidence.items)
        for trial in found:
            self._evidence.setdefault(trial.digest, []).append(trial)
        for trial in found:
            observation = self._observed(state, trial)
            if trial.digest not in self._evidence_place and (observation.scores or observation.violation > 0):
                self._evidence_place[trial.digest] = len(self._observations)
                self._observations.append(observation)

    def _observed(self, state: State, trial: Trial) -> Observation:
        # A seed counts once: where this search trained it too, its own score does.
        group = (*self._evidence.get(trial.digest, ()), trial, *state.repeats.get(trial.digest, ()))
        by_epoch = (
            (epoch, {t.seed: t.scores[epoch] for t in group if epoch in t.scores}) for epoch in self._rungs
        )
        scores = tuple((epoch, mean_vector(list(seeds.values()))) for epoch, seeds in by_epoch if seeds)
        if trial.violation:
            return Observation(trial.trace, "rejected", violation=trial.violation)
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
