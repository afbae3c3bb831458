"""What the engine's decisions cost: replay of 1,000 trials, and time per decision with 10,000 workers.

No network is trained, no clock waits and no server takes part: legs end in virtual time, with made-up learning curves (a
power law that depends on the trial, with noise), so the figures say what the engine itself takes. The space is ``compact``,
the sampler ``random``, the gate lets everything pass; samplers that look at the history and a gate that builds networks
cost what they cost on top. With ``--several`` ranks are fronts, which are worked out anew after each arrival at a rung.

- **live**: a search of ``--trials`` trials on 16 workers, all decisions and the fold of their events.
- **replay**: the fold of that search's events alone, as a driver does that takes over.
- **renamed**: the same of a journal of another version, whose candidates are named anew.
- **again**: the same events once more as ``segsearch audit --decisions`` goes through them: the engine is asked before each
  recorded decision, and every answer is compared.
- **wide**: ``--wide`` workers, twice as many trials. A decision is everything between a free worker and its next leg: the ask
  and the fold of the events that it answers. New trials and promotions are different work, so the mean of the last thousand
  is divided by that of the first thousand for each kind apart; the promise is below 1.5. Reports are timed too. Seconds are
  CPU time of the process, which other processes on the machine hardly stretch.

    python benchmarks/engine_speed.py --trials 1000 --wide 10000
"""

import argparse
import heapq
import random
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

from orchestrator.engine import events
from orchestrator.engine.decisions import follow
from orchestrator.engine.engine import Engine, Start
from orchestrator.engine.events import Draft, Event
from orchestrator.engine.naming import naming_code
from orchestrator.engine.objective import Objective
from orchestrator.engine.order import LegOrder
from orchestrator.engine.sampler import Sampler
from orchestrator.engine.settings import EngineSettings, Kind, Scheduler
from search_spaces.candidate import Candidate
from search_spaces.register import kinds, lookup
from search_spaces.space import load_space
from workers.contract import EpochResult, LegResult

COUNT = 1000  # decisions at each end


@dataclass(slots=True)
class World:
    """Workers in virtual time, the engine that they ask, and how long it took."""

    settings: EngineSettings
    engine: Engine = field(init=False)
    keep: bool = True  # the events
    written: list[Event] = field(default_factory=list)
    seq: int = 0
    now: float = 0.0
    new_trials: list[float] = field(default_factory=list)
    promotions: list[float] = field(default_factory=list)
    reports: list[float] = field(default_factory=list)
    due: list[tuple[float, int, LegOrder, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = Engine(self.settings)

    def run(self) -> None:
        """Search to the end."""
        self._record(
            [
                events.opened({}, "", protocol={}, versions={}, seed=0),
                events.leading({}, 1, slots=self.settings.slots, whole=1, fix={}, spaces=naming_code()),
            ]
        )
        while True:
            begun = time.process_time()
            answer = self.engine.ask(self.now)
            self._record(answer.drafts)
            taken = time.process_time() - begun
            if isinstance(answer.step, Start):
                is_new = any(draft.kind == "asked" for draft in answer.drafts)
                (self.new_trials if is_new else self.promotions).append(taken)
                self._schedule(answer.step.order, answer.step.order.first_epoch)
            elif not answer.drafts:
                if not self.due:
                    return
                self._pass()

    def _pass(self) -> None:
        """To the next report or end of a leg."""
        self.now, _, order, epoch = heapq.heappop(self.due)
        begun = time.process_time()
        common = {"search": "", "trial": order.trial, "fence": order.fence, "seconds": 1.0, "at": self.now}
        stop = False
        if epoch > order.first_epoch:
            metrics = {"dice": curve(order.trial, epoch)}
            fields = {"loss": 0.0, "train_seconds": 1.0, "checkpoint": ""}
            reaction = self.engine.report(
                EpochResult(**common, **fields, epoch=epoch, metrics=metrics), self.now
            )
            self._record(reaction.drafts)
            stop = reaction.stop
        if stop or epoch == order.last_epoch:
            status = "stopped" if epoch < order.last_epoch else "completed"
            self._record(self.engine.tell(LegResult(**common, epoch=epoch, status=status), self.now))
            self.reports.append(time.process_time() - begun)
        else:
            self.reports.append(time.process_time() - begun)
            self._schedule(order, epoch)

    def _schedule(self, order: LegOrder, epoch: int) -> None:
        seconds = 1.0 + random.Random(order.trial).random()
        heapq.heappush(self.due, (self.now + seconds, order.fence, order, epoch + 1))

    def _record(self, drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            self.seq += 1
            event = Event(self.seq, draft.kind, draft.version, self.now, draft.body)
            self.engine.apply(event)
            if self.keep:
                self.written.append(event)


def curve(trial: int, epoch: int) -> float:
    """A made-up Dice: a power law towards a limit of the trial's own, with noise."""
    rng = random.Random(trial)
    limit, fall = rng.random(), rng.uniform(0.3, 1.0)
    noise = random.Random(trial * 1000 + epoch).gauss(0.0, 0.01)
    return max(0.0, limit * (1.0 - 0.8 * epoch**-fall) + noise)


def size_of(candidate: Candidate) -> dict[str, float]:
    """A made-up number of parameters that costs nothing to find."""
    return {"parameters": 1e6 * candidate.recipe.learning_rate}


def settings_of(trials: int, slots: int, *, kind: Kind, sampler: str, several: bool) -> EngineSettings:
    """The search that is measured."""
    objectives = (Objective("dice"), Objective("parameters", "minimize"))
    return EngineSettings(
        space=load_space("compact"),
        objectives=objectives if several else objectives[:1],
        gate=size_of,
        sampler=lookup(Sampler, sampler)(),  # type: ignore[type-abstract]  # entries are concrete
        scheduler=Scheduler(kind),
        trials=trials,
        slots=slots,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--wide", type=int, default=10_000)
    parser.add_argument("--kind", choices=get_args(Kind), default="asha")
    parser.add_argument("--sampler", choices=kinds(Sampler), default="random")
    parser.add_argument("--several", action="store_true", help="two objectives: Dice and parameters")
    options = parser.parse_args()
    told = {"kind": options.kind, "sampler": options.sampler, "several": options.several}
    world = World(settings_of(options.trials, 16, **told))
    begun = time.process_time()
    world.run()
    live = time.process_time() - begun
    begun = time.process_time()
    Engine(world.settings).replay(world.written)
    folded = time.process_time() - begun
    older = [_of_before(event) for event in world.written]
    begun = time.process_time()
    Engine(world.settings).replay(older)
    renamed = time.process_time() - begun
    begun = time.process_time()
    followed = follow(world.written, lambda _: world.settings)
    again = time.process_time() - begun
    who = f"{options.sampler}, {options.kind}, {options.trials} trials on 16 workers"
    print(f"{who}, {len(world.written)} events; CPU seconds of one core")
    print(f"  live    {live:7.2f} s, {len(world.new_trials) + len(world.promotions)} legs handed out")
    print(f"  replay  {folded:7.2f} s")
    print(f"  renamed {renamed:7.2f} s")
    same = sum(followed.same.values())
    print(f"  again   {again:7.2f} s, decisions identical: {same} of {followed.decisions}")
    assert followed.difference is None, followed.difference
    if options.wide:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        settings = settings_of(2 * options.wide, options.wide, **told)
        wide = World(settings, keep=False)
        wide.run()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"{options.kind}, {2 * options.wide} trials on {options.wide} workers, {wide.seq} events; CPU")
        print(f"  new trials  {_ends(wide.new_trials)}")
        print(f"  promotions  {_ends(wide.promotions)}")
        print(f"  reports     {_ends(wide.reports)}")
        print(f"  memory grew by {grown:.0f} MB, events left out: they stay in the journal")


def _of_before(event: Event) -> Event:
    return replace(event, body={**event.body, "spaces": None}) if event.kind == "leading" else event


def _ends(seconds: Sequence[float]) -> str:
    if len(seconds) < 2 * COUNT:
        return f"{len(seconds)}, too few to compare"
    first, last = (1000 * statistics.mean(part) for part in (seconds[:COUNT], seconds[-COUNT:]))
    return f"{len(seconds)}: first thousand {first:.3f} ms, last thousand {last:.3f} ms, ratio {last / first:.2f}"


if __name__ == "__main__":
    main()
