"""A search from its job to its last leg. The page to read.

    job -> plan -> ask the engine -> journal its decision -> hand the leg out -> journal what comes back -> ask again

Whatever the engine decides is in the journal before anything acts on it. So a driver may be killed between any two lines:
the next one replays the events, hands the legs that were running out again, and goes on.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from orchestrator.driver import Driver
from orchestrator.engine import events
from orchestrator.engine.engine import Engine, Finished, Start, Wait
from orchestrator.engine.events import Draft, Event, Purpose
from orchestrator.engine.leaderboard import Row, leaderboard
from orchestrator.engine.naming import SPACES, naming_code
from orchestrator.engine.order import LegOrder
from orchestrator.engine.state import State
from orchestrator.engine.trial import Parent, Trial
from orchestrator.executor import Executor, Result
from orchestrator.journal import Journal, Leadership, Message
from orchestrator.plan import Plan
from workers.checkpoint import checkpoints_of, delete_checkpoint, key_of
from workers.contract import EpochResult, Leg
from workers.export import versions

POLL_S = 0.5
RENEW_S = 5.0

Watch = Callable[[Event | None, Engine], None]
"""Told each event, and None now and then while nothing happens."""


@dataclass(slots=True)
class Session:
    """A driver at work: the one leader of a search, its engine, and the executor that runs its legs."""

    plan: Plan
    journal: Journal
    leadership: Leadership
    engine: Engine
    executor: Executor
    watch: Watch
    running: set[int] = field(default_factory=set)
    renewed: float = 0.0
    pausing: bool = False

    def record(
        self, drafts: Sequence[Draft], *, at: float | None = None, answered: Sequence[Message] = ()
    ) -> None:
        """Journal events, then let the engine and the watcher know them.

        Args:
            drafts: The events.
            at: The time that the engine was told when it decided on them; now where it was not asked.
            answered: Messages that they answer.
        """
        if not drafts and not answered:
            return
        for event in self.journal.append(self.leadership, drafts, at=at, answered=answered):
            self.engine.apply(event)
            self.watch(event, self.engine)
        self.renewed = time.monotonic()

    def lead(self) -> None:
        """Journal that this driver leads, and by what it decides."""
        told, driver = self.engine.settings, Driver.current()
        draft = events.leading(
            driver.to_json(),
            self.leadership.fence,
            slots=told.slots,
            whole=told.whole,
            fix=self.plan.job.fix,
            spaces=naming_code(),
        )
        self.record([draft])

    def rows(self, purpose: Purpose) -> tuple[Row, ...]:
        """Trials of a purpose, best first."""
        return leaderboard(self.engine.state, purpose=purpose)

    def cost(self, purpose: Purpose) -> float:
        """Worker-seconds that trials of a purpose took, lost work included."""
        return self.engine.state.spent_s(time.time(), purpose)


def create_search(plan: Plan, journal: Journal, *, evidence: Sequence[Draft] = ()) -> None:
    """Write the first events of a search, all or none.

    Args:
        plan: Its plan.
        journal: Where it is remembered.
        evidence: What ``warm_start.gather`` found.

    Raises:
        SearchExistsError: The name is taken.
    """
    opened = events.opened(
        plan.job.to_json(),
        plan.dataset.digest,
        protocol=plan.protocol,
        versions={**versions(), SPACES: naming_code()},
        seed=plan.settings.seed,
    )
    journal.create(plan.job.name, [opened, *evidence])


@contextmanager
def open_session(plan: Plan, journal: Journal, executor: Executor, watch: Watch) -> Iterator[Session]:
    """Lead a search: replay its events and take over from whoever led it before.

    Raises:
        LedError: Another driver leads it.
    """
    leadership = journal.lead(plan.job.name, Driver.current())
    engine = Engine(plan.settings)
    written = journal.read(plan.job.name)
    engine.replay(written)
    lost = [trial for trial in engine.state.trials if trial.leg is not None]
    session = Session(plan, journal, leadership, engine, executor, watch)
    try:
        session.lead()
        if len(written) > 1 and all(event.kind in ("opened", "evidence", "noted") for event in written):
            for event in written:  # the first driver: nobody was told what the search began with
                session.watch(event, engine)
        _sweep(engine.state, plan.storage, lost)
        yield session
    finally:
        journal.release(leadership)


class SearchPaused(Exception):  # nothing went wrong
    """A user asked for a pause, and all running epochs have ended."""


def drive(session: Session) -> None:
    """Ask, hand out and take back until the engine has nothing more to run.

    Raises:
        SearchPaused: A user asked for a pause.
    """
    while True:
        _heed(session)
        if session.pausing and not session.running:
            raise SearchPaused
        finished = not session.pausing and _hand_out(session)
        if finished and not session.running:
            return
        results = session.executor.poll(POLL_S)
        for result in results:
            _take(session, result)
        if not results:
            session.watch(None, session.engine)
        if time.monotonic() - session.renewed > RENEW_S:
            session.journal.renew(session.leadership)
            session.renewed = time.monotonic()


def _heed(session: Session) -> None:
    """Answer what other processes asked of this search."""
    messages = session.journal.inbox(session.plan.job.name)
    drafts = []
    for message in messages:
        by = str(message.body.get("by", ""))
        match message.verb:
            case "pause":
                drafts.append(events.noted("pause", {"by": by}))
            case "extend":
                drafts.append(events.extended(**message.body))
            case _:
                drafts.append(events.stop_requested(by))
    session.record(drafts, answered=messages)
    verbs = {message.verb for message in messages}
    if "cancel" in verbs:
        session.executor.close()
        session.running.clear()
        session.lead()  # what ran is lost, as with a driver that died
    elif "pause" in verbs and not session.engine.state.stop_requested:
        session.pausing = True
        for trial in session.running:
            session.executor.stop(trial)


def _hand_out(session: Session) -> bool:
    """Start every leg that fits; True where the engine has no more for now and for ever."""
    while True:
        now = time.time()
        answer = session.engine.ask(now)
        session.record(answer.drafts, at=now)
        match answer.step:
            case Start(order):
                session.running.add(order.trial)
                session.executor.start(leg_of(order, session.plan))
            case Finished():
                return True
            case Wait() if not answer.drafts:
                return False


def _take(session: Session, result: Result) -> None:
    """Journal a result; ask its leg to end, or remove the checkpoint that it makes superfluous."""
    engine, now = session.engine, time.time()
    trial = engine.state.trials[result.trial]
    before = trial.checkpoint
    waited = _waited_for(engine.state, trial)
    if isinstance(result, EpochResult):
        reaction = engine.report(result, now)
        session.record(reaction.drafts, at=now)
        if reaction.stop:
            session.executor.stop(result.trial)
        if trial.checkpoint == result.checkpoint and before and not engine.state.heirs.need(before):
            delete_checkpoint(before)
    else:
        session.running.discard(result.trial)
        session.record(engine.tell(result, now), at=now)
    if waited is not None and not _is_kept(engine.state, waited):
        delete_checkpoint(waited.checkpoint)


def _sweep(state: State, storage: str, lost: Sequence[Trial]) -> None:
    """Remove the checkpoints that a dead driver and its workers left behind: of trials that ran, and of their parents."""
    left = {trial.number for trial in lost} | {trial.parent.trial for trial in lost if trial.parent}
    waited = {key_of(location) for location in state.heirs.places}
    for number in sorted(left):
        newest = state.trials[number].checkpoint
        kept = waited | ({key_of(newest)} if newest else set())
        for location in checkpoints_of(storage, number):
            if key_of(location) not in kept:
                delete_checkpoint(location)


def _waited_for(state: State, trial: Trial) -> Parent | None:
    """The parent of a trial that has not yet begun with its weights."""
    return trial.parent if trial.parent and state.heirs.need(trial.parent.checkpoint) else None


def _is_kept(state: State, parent: Parent) -> bool:
    """Whether somebody needs the checkpoint of a parent: another child, or itself, as it is its newest."""
    newest = state.trials[parent.trial].checkpoint
    return newest == parent.checkpoint or state.heirs.need(parent.checkpoint)


def leg_of(order: LegOrder, plan: Plan) -> Leg:
    """The order of a leg as the worker needs it."""
    loaders = plan.job.data.loader_workers
    scoring_share = 1.0 if order.purpose == "search" else plan.job.retrain.scoring_share
    return order.to_leg(
        search=plan.job.name,
        data=plan.view,
        storage=plan.storage,
        slot_threads=plan.slots.threads,
        device=plan.slots.device,
        per_card=plan.slots.per_card,
        loader_workers=plan.slots.loader_workers if loaders == "auto" else loaders,
        plugins=tuple(plan.job.plugins),
        measures=plan.measures,
        latency=plan.latency,
        precision=plan.job.resources.precision,
        scoring_share=scoring_share,
    )


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends a driver like Ctrl-C: legs are dropped, the search can be resumed."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
