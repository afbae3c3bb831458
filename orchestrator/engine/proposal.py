"""The next candidate of a search: presets first, then the sampler, and nothing twice, beyond a limit or screened out."""

import hashlib
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from orchestrator.engine import events
from orchestrator.engine.events import Draft, Finish, Source
from orchestrator.engine.evidence import asked_first
from orchestrator.engine.inheritance import parent_of
from orchestrator.engine.sampler import Breeder, History
from orchestrator.engine.screening import UNSCREENED
from orchestrator.engine.settings import EngineSettings
from orchestrator.engine.state import State
from orchestrator.engine.trial import Parent
from search_spaces.candidate import Candidate, digest, from_json, to_json
from search_spaces.errors import SpaceError
from search_spaces.space import Trace, encode, mutate, sample

SAMPLER_ATTEMPTS = 8  # the sampler keeps coming back to what it knows to be good; then variety helps more
SCREENED_IN_ROW = SAMPLER_ATTEMPTS - 1  # the sampler's last proposal passes whatever its score
RANDOM_ATTEMPTS = 92
MAX_ATTEMPTS = (
    200  # rejected proposals in a row after which the space counts as exhausted; the last half mutates
)
DUPLICATE = "the same candidate as trial "  # and its number: the message of such a rejection
LOSS_FAULT = "its loss cannot train a network: "  # begins the message of such a rejection


@dataclass(frozen=True, slots=True)
class Accepted:
    """A candidate that may be trained, and the trial whose weights it begins with."""

    candidate: Candidate
    name: str
    digest: str
    trace: Trace
    source: Source
    profile: dict[str, float]
    parent: Parent | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a search proposes: the proposals turned down on the way, and the accepted one, if the space held any."""

    rejected: tuple[Draft, ...]
    accepted: Accepted | None


def propose(settings: EngineSettings, state: State, known: History) -> Proposal:
    """Find the next candidate; a function of the settings and the events so far, of which samplers see ``known``."""
    rejected: list[Draft] = []
    for name, candidate, source, parent in _candidates(settings, state, known):
        found = _judge(settings, state, candidate, name=name, source=source, before=rejected)
        if isinstance(found, Accepted):
            return Proposal(tuple(rejected), replace(found, parent=parent))
        rejected.append(found)
    return Proposal(tuple(rejected), None)


def is_exhausted(state: State) -> bool:
    """Whether proposals were turned down so often in a row that the search gives up."""
    return state.rejected_in_row >= MAX_ATTEMPTS


def derived_seed(*parts: int | str) -> int:
    """A seed below 2**63 that depends on all parts, the same in every process."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def end_message(settings: EngineSettings, state: State, reason: Finish) -> str:
    """What a user is told beside why a search ended."""
    if reason == "exhausted":
        return exhaustion(settings, state)
    if reason == "failures":
        count, why = state.failed_alike
        return f"{count} trials in a row failed alike and none trained an epoch meanwhile: {why}"
    return ""


def exhaustion(settings: EngineSettings, state: State) -> str:
    """Why a search could propose no more: each limit with how many it turned down and the closest, and the duplicates."""
    beyond = [
        f"constraints.{limit} of {settings.constraints[limit]:,.12g} turned down {state.rejections['constraint:' + limit]}, "
        f"the closest with {closest:,.12g}"
        for limit, closest in sorted(state.closest.items())
        if limit in settings.constraints
    ]
    found = "no further candidate" if state.searched else "no candidate"
    parts = [f"{found} is within all limits: {', '.join(beyond)}"] if beyond else []
    if duplicates := state.rejections["duplicate"]:
        parts.append(f"{duplicates} proposals were tried before")
    if unbuildable := state.rejections["unbuildable"]:
        parts.append(f"{unbuildable} cannot be built")
    if losses := state.rejections["loss"]:
        parts.append(f"{losses} have a loss that cannot train a network")
    if low := state.rejections["score"]:
        parts.append(f"search.screening turned down {low} for their score")
    return "; ".join(parts)


def _candidates(
    settings: EngineSettings, state: State, known: History
) -> Iterator[tuple[str, Candidate, Source, Parent | None]]:
    for name, candidate in settings.presets:
        if name not in state.presets:
            yield name, candidate, "preset", None
    for item in asked_first(settings, state):
        yield item.title, from_json(Candidate, item.trial.candidate), "evidence", None
    # Numbers of proposals, not of events: notes and restarts of the driver do not change what is proposed.
    number = len(state.proposals)
    for attempt in range(MAX_ATTEMPTS - state.rejected_in_row):
        seed = derived_seed("propose", settings.seed, number, attempt)
        if attempt < SAMPLER_ATTEMPTS:
            source: Source = "random" if settings.sampler.kind == "random" else "sampler"
            candidate, parent = _sampled(settings, state, known, seed)
            yield "", candidate, source, parent
        elif attempt < SAMPLER_ATTEMPTS + RANDOM_ATTEMPTS or not state.digests:
            yield "", sample(settings.space, random.Random(seed)), "random", None
        elif (child := _mutant(settings, state, random.Random(seed))) is not None:
            yield "", child, "mutation", None


def _sampled(
    settings: EngineSettings, state: State, known: History, seed: int
) -> tuple[Candidate, Parent | None]:
    sampler = settings.sampler
    if not settings.inherit or not isinstance(sampler, Breeder):
        return sampler.propose(settings.space, known, seed=seed), None
    child = sampler.breed(settings.space, known, seed=seed)
    return child.candidate, parent_of(state, settings.space, child.parent)


def _mutant(settings: EngineSettings, state: State, rng: random.Random) -> Candidate | None:
    """A change of one of the better trials: those passed all limits, so their neighbours have a good chance to."""
    trials = sorted(
        state.searched,
        key=lambda trial: -max((score[0] for score in trial.scores.values()), default=float("-inf")),
    )
    better = trials[: max(1, len(trials) // 4)]
    parent = from_json(Candidate, better[int(rng.random() * len(better))].candidate)
    try:
        return mutate(settings.space, parent, rng)
    except SpaceError:
        return None  # the space holds one candidate; the attempts run out and the search says so


def _judge(
    settings: EngineSettings,
    state: State,
    candidate: Candidate,
    *,
    name: str,
    source: Source,
    before: list[Draft],
) -> Accepted | Draft:
    key = digest(candidate)
    trace = encode(settings.space, candidate)
    known = to_json(candidate)

    def turn_down(reason: events.Rejection, message: str, **numbers: float | str) -> Draft:
        who = {"name": name, "digest": key, "trace": trace, "source": source}
        # mypy cannot tell that numbers are those of the reason
        return events.rejected(known, **who, reason=reason, message=message, **numbers)  # type: ignore[arg-type]

    if key in state.digests:
        return turn_down("duplicate", f"{DUPLICATE}{state.digests[key]}")
    profile = settings.gate(candidate)
    if isinstance(profile, str):
        return turn_down("unbuildable", profile)
    for limit, allowed in settings.constraints.items():
        value = profile[limit]
        if value > allowed:
            message = f"{limit} {value:,.12g} is above the job's limit of {allowed:,.12g}"
            return turn_down("constraint", message, limit=limit, value=value, allowed=allowed)
    if (fault := settings.loss_gate(candidate.loss)) is not None:
        return turn_down("loss", f"{LOSS_FAULT}{fault.message}", limit=fault.lacks)
    numbers = dict(profile)
    screening = settings.screening
    if screening is not None and source not in UNSCREENED:
        who = screening.score
        score = screening.measure(candidate)
        if score == -math.inf:
            return turn_down("score", f"{who} finds that the network answers all images alike", limit=who)
        others = screening.others(state, before, trace)
        bar = screening.bar(score, others)
        if score < bar and sum(draft.body["reason"] == "score" for draft in before) < SCREENED_IN_ROW:
            message = (
                f"{who} {score:,.6g} is below {bar:,.6g}, the lowest that passes among the newest {len(others) + 1} "
                "proposals"
            )
            return turn_down("score", message, limit=who, value=score, allowed=bar)
        numbers[who] = score
    return Accepted(candidate, name, key, trace, source, numbers)
