"""The next candidate of a search: presets first, then the sampler, and nothing twice or beyond a limit."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.engine import events
from orchestrator.engine.events import Draft, Source
from orchestrator.engine.sampler import History, Observation
from orchestrator.engine.settings import EngineSettings
from orchestrator.engine.state import Rejected, State, Trial
from search_spaces.candidate import Candidate, digest, from_json, to_json
from search_spaces.errors import SpaceError
from search_spaces.space import Trace, encode, mutate, sample

SAMPLER_ATTEMPTS = 8  # the sampler keeps coming back to what it knows to be good; then variety helps more
RANDOM_ATTEMPTS = 92
MAX_ATTEMPTS = (
    200  # rejected proposals in a row after which the space counts as exhausted; the last half mutates
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A candidate that may be trained."""

    candidate: Candidate
    name: str
    digest: str
    trace: Trace
    source: Source
    profile: dict[str, float]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a search proposes: the proposals turned down on the way, and the accepted one, if the space held any."""

    rejected: tuple[Draft, ...]
    accepted: Accepted | None


def propose(settings: EngineSettings, state: State) -> Proposal:
    """Find the next candidate; a function of the settings and the events so far."""
    rejected: list[Draft] = []
    for name, candidate, source in _candidates(settings, state):
        found = _judge(settings, state, candidate, name=name, source=source)
        if isinstance(found, Accepted):
            return Proposal(tuple(rejected), found)
        rejected.append(found)
    return Proposal(tuple(rejected), None)


def is_exhausted(state: State) -> bool:
    """Whether proposals were turned down so often in a row that the search gives up."""
    return state.rejected_in_row >= MAX_ATTEMPTS


def derived_seed(*parts: int | str) -> int:
    """A seed below 2**63 that depends on all parts, the same in every process."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def history(settings: EngineSettings, state: State) -> History:
    """The proposals of a search as samplers see them."""
    sign = 1.0 if settings.direction == "maximize" else -1.0
    rungs = settings.scheduler.rungs
    return History(tuple(_observations(state, rungs, sign)), rungs)


def _candidates(settings: EngineSettings, state: State) -> Iterator[tuple[str, Candidate, Source]]:
    for name, candidate in settings.presets:
        if name not in state.presets:
            yield name, candidate, "preset"
    # Numbers of proposals, not of events: notes and restarts of the driver do not change what is proposed.
    number, known = len(state.proposals), history(settings, state)
    for attempt in range(MAX_ATTEMPTS - state.rejected_in_row):
        seed = derived_seed("propose", settings.seed, number, attempt)
        if attempt < SAMPLER_ATTEMPTS:
            source: Source = "random" if settings.sampler.kind == "random" else "sampler"
            yield "", settings.sampler.propose(settings.space, known, seed=seed), source
        elif attempt < SAMPLER_ATTEMPTS + RANDOM_ATTEMPTS or not state.digests:
            yield "", sample(settings.space, random.Random(seed)), "random"
        elif (child := _mutant(settings, state, random.Random(seed))) is not None:
            yield "", child, "mutation"


def _mutant(settings: EngineSettings, state: State, rng: random.Random) -> Candidate | None:
    """A change of one of the better trials: those passed all limits, so their neighbours have a good chance to."""
    sign = 1.0 if settings.direction == "maximize" else -1.0
    trials = sorted(
        state.of("search"),
        key=lambda trial: -max((sign * v for v in trial.values.values()), default=float("-inf")),
    )
    better = trials[: max(1, len(trials) // 4)]
    parent = from_json(Candidate, better[int(rng.random() * len(better))].candidate)
    try:
        return mutate(settings.space, parent, rng)
    except SpaceError:
        return None  # the space holds one candidate; the attempts run out and the search says so


def _judge(
    settings: EngineSettings, state: State, candidate: Candidate, *, name: str, source: Source
) -> Accepted | Draft:
    key = digest(candidate)
    trace = encode(settings.space, candidate)
    known = to_json(candidate)

    def turn_down(reason: events.Rejection, message: str, **numbers: float | str) -> Draft:
        who = {"name": name, "digest": key, "trace": trace, "source": source}
        return events.rejected(known, **who, reason=reason, message=message, **numbers)  # type: ignore[arg-type]

    if key in state.digests:
        return turn_down("duplicate", f"the same candidate as trial {state.digests[key]}")
    profile = settings.gate(candidate)
    if isinstance(profile, str):
        return turn_down("unbuildable", profile)
    for limit, allowed in settings.constraints.items():
        value = profile[limit]
        if value > allowed:
            message = f"{limit} {value:,.12g} is above the job's limit of {allowed:,.12g}"
            return turn_down("constraint", message, limit=limit, value=value, allowed=allowed)
    return Accepted(candidate, name, key, trace, source, dict(profile))


def _observations(state: State, rungs: tuple[int, ...], sign: float) -> Iterator[Observation]:
    for proposal in state.proposals:
        if isinstance(proposal, Rejected):
            if proposal.violation > 0:
                yield Observation(proposal.trace, "rejected", violation=proposal.violation)
        else:
            yield _observed(proposal, rungs, sign)


def _observed(trial: Trial, rungs: tuple[int, ...], sign: float) -> Observation:
    scores = tuple((epoch, (sign * trial.values[epoch],)) for epoch in rungs if epoch in trial.values)
    match trial.status:
        case "diverged" | "out_of_memory":
            return Observation(trial.trace, "failed", violation=1.0)
        case "failed" if not scores:
            return Observation(trial.trace, "failed", violation=1.0)
        case "waiting" | "running":
            return Observation(trial.trace, "running", scores)
    return Observation(trial.trace, "scored", scores)
