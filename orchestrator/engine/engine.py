"""The engine: which leg runs next. Pure decisions over the fold of events; no clock, no cluster, no randomness of its own.

A driver asks, writes the drafts it is given to the journal, applies the events that come back and only then acts:

    answer = engine.ask(now)
    for event in journal.append(leadership, answer.drafts):
        engine.apply(event)
    match answer.step: ...

Nothing changes between ``ask`` and ``apply``, so a driver may die at any point: the next one replays and is asked again.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from orchestrator.engine import events
from orchestrator.engine.events import Draft, Event, Finish, Purpose, Verdict
from orchestrator.engine.evidence import reuse
from orchestrator.engine.history import Memory
from orchestrator.engine.leaderboard import leaderboard
from orchestrator.engine.limits import beyond
from orchestrator.engine.naming import named_now
from orchestrator.engine.order import LegOrder, first_order, next_order
from orchestrator.engine.pausing import Pausing
from orchestrator.engine.proposal import Accepted, derived_seed, end_message, is_exhausted, propose
from orchestrator.engine.schedule import Schedule
from orchestrator.engine.settings import STOPPING, EngineSettings
from orchestrator.engine.state import State
from orchestrator.engine.stopping import Stopping
from orchestrator.engine.trial import Trial
from search_spaces.candidate import Candidate, digest, to_json
from search_spaces.errors import SpaceError
from workers.contract import JSON, EpochResult, LegResult

PART = 2  # samples of a batch below which none is cut: batch norm over one sample may fail
FAILED_ALIKE = 5  # trials in a row: the next ones would fail, too, as the reason lies outside of them
COMPLETE_PRESETS = 3  # presets that train to their end at once: no search shall be worse than what is known


@dataclass(frozen=True, slots=True)
class Start:
    """Hand this leg out, then ask again."""

    order: LegOrder


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to start before a result comes in."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The search is over and no requested trial waits or runs."""

    reason: Finish


@dataclass(frozen=True, slots=True)
class Answer:
    """What to write, then what to do."""

    drafts: tuple[Draft, ...]
    step: Start | Wait | Finished


@dataclass(frozen=True, slots=True)
class Reaction:
    """What to write about an epoch, and whether the leg shall end now."""

    drafts: tuple[Draft, ...]
    stop: bool


@dataclass(frozen=True, slots=True)
class Requested:
    """The trial of a request; no drafts where the same was requested before."""

    trial: int
    drafts: tuple[Draft, ...]


class Engine:
    """Decides for one search.

    Attributes:
        settings: What it was told.
        state: The fold of the events applied so far; read it, change it only by ``apply``.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.state = State(settings.objectives)
        stops = settings.scheduler.kind in STOPPING
        self._schedule: Schedule = Stopping(settings.scheduler) if stops else Pausing(settings.scheduler)
        self._memory = Memory(settings.scheduler.rungs, len(settings.objectives))

    def apply(self, event: Event) -> None:
        """Take note of an event that the journal holds."""
        for trial in self.state.apply(event):
            if trial.purpose == "search":
                self._memory.update(trial)
                if not trial.is_repeat:
                    self._schedule.update(trial)

    def replay(self, written: Iterable[Event]) -> None:
        """Take note of all events of a journal, in order; candidates have the names of today."""
        for event in named_now(written):
            self.apply(event)

    def ask(self, now: float) -> Answer:
        """The next step: hand out one leg, wait for results, or be finished.

        Waiting trials come first (requested, broken down, or left behind by a driver that died), then promotions, then
        new trials, then promotions that only idle slots make sensible.

        Args:
            now: Unix time in seconds.
        """
        state = self.state
        if due := sorted(state.ledger.due):
            # A driver died between the last epoch and the verdict.
            return Answer(tuple(_verdict(state.trials[number]) for number in due), Wait())
        ending = self.ending(now)
        if (trial := self._waiting(ending)) is not None:
            return self._hand_out(trial)
        if state.finished is None and ending is None:
            if state.running_share() + 1 > self.settings.slots:
                return Answer((), Wait())
            if (answer := self._search_on()) is not None:
                return answer
        if state.finished is None and state.ledger.running("search"):
            return Answer((), Wait())
        return self._close(ending)

    def ending(self, now: float) -> Finish | None:
        """Why the search must end now although it could go on: a budget is used up, a user said so, or nothing trains."""
        state, settings = self.state, self.settings
        if state.stop_requested:
            return "stop_requested"
        if state.failed_alike[0] >= FAILED_ALIKE:
            return "failures"
        more = state.extension
        if settings.wall_s is not None and state.wall_s(now) >= settings.wall_s + more.wall_s:
            return "wall"
        if (hours := settings.worker_hours) and state.spent_s(now) >= (hours + more.worker_hours) * 3600:
            return "worker_hours"
        return None

    def report(self, result: EpochResult, now: float) -> Reaction:
        """Take an epoch in; a result of an older leg is refused."""
        trial = self.state.trials[result.trial]
        if trial.leg is None or trial.leg.fence != result.fence or result.epoch <= trial.epoch:
            return Reaction((events.refused(result, _fence(trial)),), stop=False)
        drafts, stop = [events.epoch(result)], self._must_stop(trial, now)
        if trial.purpose == "search" and not trial.is_repeat and not trial.halted:
            metrics = drafts[0].body["metrics"]
            if (over := beyond(trial.number, result.epoch, metrics, self.settings.limits)) is not None:
                return Reaction((over, *drafts), stop=True)
            score = self.state.vector(
                trial, epoch=result.epoch, metrics=metrics, train_s=result.train_seconds
            )
            if (reason := self._schedule.halt(trial, result.epoch, score)) is not None:
                drafts.append(events.halted(trial.number, epoch=result.epoch, reason=reason))
        return Reaction(tuple(drafts), stop=stop or bool(trial.halted) or len(drafts) > 1)

    def tell(self, result: LegResult, now: float) -> tuple[Draft, ...]:
        """Take the end of a leg in; a result of an older leg is refused.

        A trial that diverged has its verdict at once. One that failed is handed out again from its last checkpoint, up to
        ``retries`` times without a new epoch; one that ran out of memory, with smaller parts of its batches, then with more
        slots to itself, as long as there is anything left to try.
        """
        trial = self.state.trials[result.trial]
        if trial.leg is None or trial.leg.fence != result.fence:
            return (events.refused(result, _fence(trial)),)
        ended = events.leg_ended(result)
        match result.status:
            case "completed" if trial.epoch >= trial.max_epochs:
                return (ended, _verdict(trial))
            case "completed" | "stopped" if trial.halted:
                return (ended, _verdict(trial))
            case "stopped" if self._must_stop(trial, now):
                return (ended, _ended(trial, "stopped", events.SEARCH_ENDED))
            case "diverged":
                return (ended, _ended(trial, "diverged", result.message))
            case "out_of_memory" if trial.memory_failures >= self._memory_tries + (self.settings.whole > 1):
                return (ended, _ended(trial, "out_of_memory", result.message))
            case "failed" if trial.failures >= self.settings.retries:
                return (ended, _ended(trial, "failed", result.message))
        return (ended,)

    def request(
        self, candidate: Candidate, *, seed: int, epochs: int, purpose: Purpose, name: str, share: float = 1.0
    ) -> Requested:
        """Ask for a full training outside the search: a winner with another seed, a preset to compare with.

        It runs beside the search or after it, is never judged by a rung and counts in no budget. The same request twice
        is one trial, so a driver that resumes may repeat its requests.

        Args:
            candidate: What to train; it need not lie in the space or within the limits.
            seed: Seed of the trial.
            epochs: Length of the training.
            purpose: ``retrain`` or ``baseline``.
            name: What a user sees.
            share: Slots it takes, at most all.

        Raises:
            SpaceError: The candidate cannot be built.
        """
        key = digest(candidate)
        for trial in self.state.of(purpose):
            if (trial.digest, trial.seed, trial.max_epochs) == (key, seed, epochs):
                return Requested(trial.number, ())
        profile = self.settings.gate(candidate)
        if isinstance(profile, str):
            raise SpaceError(f"{name}: {profile}")
        number = len(self.state.trials)
        draft = events.asked(
            number,
            to_json(candidate),
            name=name,
            digest=key,
            trace={},
            seed=seed,
            source="request",
            purpose=purpose,
            to_epoch=epochs,
            max_epochs=epochs,
            profile=profile,
            share=min(share, self.settings.slots),
        )
        return Requested(number, (draft,))

    def _waiting(self, ending: Finish | None) -> Trial | None:
        """The first trial that has a leg to hand out and may run."""
        found = []
        if self.state.finished is None and ending is None:
            found.append(self.state.ledger.waiting(of_search=True))
        if not self.state.stop_requested:
            found.append(self.state.ledger.waiting(of_search=False))
        return min((trial for trial in found if trial is not None), default=None)

    def _search_on(self) -> Answer | None:
        """Promote, or begin a trial, or repeat one; None where the search has nothing more to start."""
        state, settings = self.state, self.settings
        wanted = settings.trials + state.extension.trials
        closing = len(state.searched) >= wanted or is_exhausted(state)
        step = self._schedule.step(closing=closing)
        if step is not None:
            trial = state.trials[step.trial]
            draft = events.promoted(
                trial.number,
                from_epoch=trial.allowed,
                to_epoch=step.to_epoch,
                judged=step.judged,
                value=trial.value,
            )
            return self._hand_out(trial, before=(draft,), last_epoch=step.to_epoch)
        return self._repeat() if closing else self._begin()

    def _repeat(self) -> Answer | None:
        """Train the best candidate that has one seed with another one, as far as it came; once all trials are judged."""
        state = self.state
        if sum(map(len, state.repeats.values())) >= self.settings.repeats:
            return None
        if any(trial.leg is not None for trial in state.searched):
            return None
        rows = leaderboard(state)
        best = next((r for r in rows if r.scores is not None and r.digest not in state.repeats), None)
        if best is None:
            return None
        trial, number = state.trials[best.trial], len(state.trials)
        draft = events.asked(
            number,
            trial.candidate,
            name=f"{trial.name} (repeat)",
            digest=trial.digest,
            trace=trial.trace,
            seed=derived_seed("repeat", trial.seed) % 2**31,
            source="repeat",
            purpose="search",
            to_epoch=trial.epoch,
            max_epochs=trial.max_epochs,
            profile=trial.profile,
            share=trial.share,
        )
        return self._launch(draft)

    def _begin(self) -> Answer:
        proposal = propose(self.settings, self.state, self._memory.history(self.state))
        found = proposal.accepted
        if found is None:
            return Answer(proposal.rejected, Wait())  # the next ask sees that the space is exhausted
        number, entry = len(self.state.trials), self._entry(found)
        fields: JSON = {
            "name": found.name or f"trial {number}",
            "digest": found.digest,
            "trace": found.trace,
            "seed": self.settings.seed,
            "source": found.source,
            "purpose": "search",
            "to_epoch": entry,
            "max_epochs": self.settings.scheduler.max_epochs,
            "profile": found.profile,
            "share": 1.0,
            "parent": None if found.parent is None else asdict(found.parent),
        }
        draft = events.asked(number, to_json(found.candidate), **fields)
        return self._launch(draft, before=proposal.rejected)

    def _launch(self, asked: Draft, *, before: tuple[Draft, ...] = ()) -> Answer:
        """Begin a trial: hand out its first leg, or take over what another search found."""
        if settled := reuse(self.settings, self.state, asked):
            return Answer((*before, asked, *settled), Wait())
        order = first_order(asked, fence=self.state.fence + 1)
        return Answer((*before, asked, order.draft), Start(order))

    def _entry(self, found: Accepted) -> int:
        """Epochs to which a new trial may train: the first presets to their end, so that a result is there early."""
        if found.source == "preset":
            begun = sum(trial.source == "preset" for trial in self.state.searched)
            if begun < COMPLETE_PRESETS:
                return self.settings.scheduler.max_epochs
        return self._schedule.entry()

    def _hand_out(
        self, trial: Trial, *, before: tuple[Draft, ...] = (), last_epoch: int | None = None
    ) -> Answer:
        micro_batches, share = self._room(trial)
        if self.state.running_share() + share > self.settings.slots:
            return Answer((), Wait())  # the slots that it needs come free; nothing overtakes it
        order = next_order(
            trial,
            fence=self.state.fence + 1,
            last_epoch=trial.allowed if last_epoch is None else last_epoch,
            share=share,
            micro_batches=micro_batches,
        )
        return Answer((*before, order.draft), Start(order))

    def _room(self, trial: Trial) -> tuple[int, float]:
        """Parts of a batch, and the share of the slots: one node's where the smallest parts ran out of memory.

        Never more slots than there are: a search may go on where there are fewer than it began with.
        """
        parts = 2 ** min(trial.memory_failures, self._halvings)
        whole = self.settings.whole if trial.memory_failures > self._memory_tries else 0
        return parts, min(max(trial.share, float(whole)), float(self.settings.slots))

    @property
    def _halvings(self) -> int:
        return max(0, (self.settings.batch // PART).bit_length() - 1)

    @property
    def _memory_tries(self) -> int:
        """Legs without memory before a trial gets a node; where no batch can be cut, one: a neighbour may have held it."""
        return max(1, self._halvings)

    def _close(self, ending: Finish | None) -> Answer:
        """Nothing of the search runs and nothing of it starts any more: give verdicts, and say so once."""
        state = self.state
        drafts = [
            _ended(trial, "stopped", _passed_over(trial) if ending is None else events.SEARCH_ENDED)
            for trial in state.trials
            if trial.verdict is None
            and trial.leg is None
            and (trial.purpose == "search" or state.stop_requested)
        ]
        reason = state.finished
        if reason is None:
            reason = ending or ("exhausted" if is_exhausted(state) else "trials")
            drafts.append(events.finished(reason, end_message(self.settings, state, reason)))
        return Answer(tuple(drafts), Wait() if state.running_share() else Finished(reason))

    def _must_stop(self, trial: Trial, now: float) -> bool:
        if trial.purpose == "search" and self.state.finished is None:
            return self.ending(now) is not None
        return self.state.stop_requested


def _ended(trial: Trial, verdict: Verdict, message: str = "") -> Draft:
    return events.trial_ended(trial.number, verdict, value=trial.value, epoch=trial.epoch, message=message)


def _passed_over(trial: Trial) -> str:
    return "as far as the trial that it repeats" if trial.is_repeat else events.NOT_PROMOTED


def _verdict(trial: Trial) -> Draft:
    """Of a trial that trained to its end, or as far as its scheduler wanted."""
    done = trial.epoch >= trial.max_epochs
    return _ended(trial, "completed") if done else _ended(trial, "stopped", trial.halted)


def _fence(trial: Trial) -> int | None:
    return None if trial.leg is None else trial.leg.fence
