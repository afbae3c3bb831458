"""A toy search: a small space of real candidates, curves that depend on the candidate, and a driver in virtual time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sources

from orchestrator.engine import events
from orchestrator.engine.engine import Engine, Finished, Start, Wait
from orchestrator.engine.events import Draft, Event
from orchestrator.engine.naming import naming_code
from orchestrator.engine.objective import Objective
from orchestrator.engine.samplers.independent import Independent
from orchestrator.engine.settings import EngineSettings, Scheduler
from orchestrator.executors.simulated import Recording, SimulatedExecutor
from search_spaces.candidate import Candidate, from_json
from search_spaces.domain import Choice, Real
from search_spaces.preset import preset_candidates
from search_spaces.recipe import Augmentation
from search_spaces.space import Choose, load_space
from workers.contract import DataView, EpochResult, Leg

VIEW = DataView(dataset="data", digest="d", view="slices", size=(64, 64), batch=16)
Curve = Callable[[Candidate], Recording]


class Log:
    """A journal in memory: numbers drafts, and keeps what it was given as JSON would."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, drafts: Sequence[Draft], at: float) -> list[Event]:
        first = len(self.events) + 1
        new = [Event(first + i, d.kind, d.version, at, d.body) for i, d in enumerate(drafts)]
        self.events += new
        return new


def toy(choose: Choose) -> Candidate:
    """Learning rate and optimiser of the first preset; weight decay exists for one optimiser only."""
    base = BASE
    optimiser = choose("recipe.optimiser", Choice(("adamw", "sgd")))
    rate = choose("recipe.learning_rate", Real(1e-4, 1e-1, log=True))
    recipe = replace(base.recipe, optimiser=optimiser, learning_rate=rate, augmentation=Augmentation())
    if optimiser == "adamw":
        recipe = replace(recipe, weight_decay=choose("recipe.weight_decay", Choice((0.0, 0.01, 0.1))))
    return replace(base, recipe=recipe)


def finite(choose: Choose) -> Candidate:
    """Six candidates."""
    warmup = choose("recipe.warmup", Choice((0.0, 0.1, 0.2)))
    average = choose("recipe.average", Choice((0.0, 0.9)))
    return replace(BASE, recipe=replace(BASE.recipe, warmup=warmup, average=average))


BASE = dict(preset_candidates(load_space("compact")))["small_unet"]


def quality(candidate: Candidate) -> float:
    """In [0, 1]; best at adamw, rate 1e-2, decay 0.01."""
    recipe = candidate.recipe
    value = 1.0 - 0.25 * abs(math.log10(recipe.learning_rate) + 2.0)
    return value - 0.15 * (recipe.optimiser == "sgd") - 0.05 * (recipe.weight_decay != 0.01)


def rising(candidate: Candidate, epochs: int = 27) -> Recording:
    """A curve that rises towards the quality."""
    final = quality(candidate)
    scores = tuple({"dice": round(final * (1 - 0.5**epoch), 6)} for epoch in range(1, epochs + 1))
    return Recording(scores, (2.0,) * epochs, startup_s=1.0)


@dataclass
class Driver:
    """The loop of ``orchestrator.search``, in virtual time; may be killed between any two events.

    Where ``torn`` is False it dies between two appends only: the journal writes one as a whole.
    """

    settings: EngineSettings
    curve: Curve = rising
    log: Log = field(default_factory=Log)
    now: float = 1000.0
    started: list[Leg] = field(default_factory=list)
    fence: int = 0
    torn: bool = True

    def __post_init__(self) -> None:
        self.engine = Engine(self.settings)
        if not self.log.events:
            self.log.append(
                [events.opened({}, "d", protocol={}, versions={}, seed=self.settings.seed)], self.now
            )

    def run(self, *, until: int | None = None, polls: int = 100_000) -> str | None:
        """Drive to the end; or die as soon as the journal holds ``until`` events."""
        place = SimulatedExecutor(self._recording, slots=self.settings.slots, start=self.now)
        self.engine = Engine(self.settings)
        self.engine.replay(self.log.events)
        self.fence += 1
        told: dict[str, Any] = {"slots": self.settings.slots, "whole": self.settings.whole, "fix": {}}
        told["spaces"] = naming_code()
        if self.write([events.leading({"pid": self.fence}, self.fence, **told)], until):
            return None
        for _ in range(polls):
            answer = self.engine.ask(place.now)
            if self.write(answer.drafts, until):
                return None
            match answer.step:
                case Start(order):
                    leg = order.to_leg(search="toy", data=VIEW, storage="runs")
                    self.started.append(leg)
                    place.start(leg)
                    continue
                case Finished(reason):
                    return reason
                case Wait() if answer.drafts:
                    continue
            for result in place.poll(1.0):
                self.now = place.now
                if isinstance(result, EpochResult):
                    reaction = self.engine.report(result, place.now)
                    if self.write(reaction.drafts, until):
                        return None
                    if reaction.stop:
                        place.stop(result.trial)
                elif self.write(self.engine.tell(result, place.now), until):
                    return None
            self.now = place.now
        raise AssertionError("the search does not end")

    def write(self, drafts: Sequence[Draft], until: int | None) -> bool:
        """Journal and apply; True where the driver dies before all of it is written."""
        for place, draft in enumerate(drafts):
            if until is not None and len(self.log.events) >= until and (self.torn or place == 0):
                return True
            for event in self.log.append([draft], self.now):
                self.engine.apply(event)
        return False

    def _recording(self, leg: Leg) -> Recording:
        return self.curve(from_json(Candidate, leg.candidate))


def make_settings(**changes: Any) -> EngineSettings:
    """Settings of the toy search."""
    known: dict[str, Any] = {
        "space": toy,
        "objectives": (Objective("dice"),),
        "sampler": Independent(),
        "scheduler": Scheduler("asha", max_epochs=9, min_epochs=1, reduction=3),
        "trials": 12,
        "slots": 2,
    }
    return EngineSettings(**(known | changes))


@pytest.fixture
def toys() -> SimpleNamespace:
    """The toy space, its curves, settings and driver."""
    return SimpleNamespace(
        space=toy,
        finite=finite,
        base=BASE,
        quality=quality,
        rising=rising,
        settings=make_settings,
        Driver=Driver,
    )


@pytest.fixture
def gathered(tmp_path: Path) -> Any:
    """``sources.gathered`` from a journal of its own."""
    return partial(sources.gathered, f"sqlite:///{tmp_path}/journal.db")
