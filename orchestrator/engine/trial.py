"""One trial as the events tell it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from orchestrator.engine.events import Purpose, Source, Verdict
from orchestrator.engine.objective import Vector
from workers.contract import JSON

if TYPE_CHECKING:
    from search_spaces.space import Trace

Status = Literal[
    "waiting", "running", "paused", "completed", "stopped", "diverged", "out_of_memory", "failed"
]


@dataclass(slots=True)
class Cost:
    """Worker-seconds: share x wall seconds of every attempt.

    Attributes:
        work: Epochs that were reported.
        startup: The rest of legs that ended as planned: loading data, building, restoring.
        lost: The rest of legs that broke down or whose driver died: work that nobody can use.
    """

    work: float = 0.0
    startup: float = 0.0
    lost: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.work + self.startup + self.lost


@dataclass(slots=True)
class RunningLeg:
    """A leg in the hands of an executor; ``worked_s`` are the wall seconds of its reported epochs."""

    fence: int
    last_epoch: int
    started: float
    worked_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Parent:
    """The trial whose weights another one begins with, as they were after an epoch."""

    trial: int
    epoch: int
    checkpoint: str


@dataclass(slots=True)
class Trial:
    """One candidate with one seed; the first fields are its ``asked`` event.

    Attributes:
        allowed: Epochs to which it may train: the rung it was promoted to, or its full length.
        epoch: Epochs done and reported.
        checkpoint: Location of the checkpoint at ``epoch``.
        values: The first objective by epoch, as the worker measured it.
        scores: All objectives by epoch, more is better; an epoch at which one is not defined is absent here and above.
        leg: The leg that runs now.
        failures: Failed legs since the last reported epoch.
        memory_failures: Legs that ran out of memory.
        halted: Why it may not train on after its epoch; empty where it may.
        violation: Relative excess over a limit that its epochs told of; its scores do not count then.
        trained_s: Worker-seconds of its training steps.
        cost: Worker-seconds so far, without the running leg's current epoch.
        parent: Whose weights it shall begin with; None for its own.
        inherited: The share of its parameters that came from there, once its first epoch told; 0 where nothing could.
    """

    number: int
    name: str
    candidate: JSON
    digest: str
    trace: "Trace"
    seed: int
    source: Source
    purpose: Purpose
    max_epochs: int
    profile: dict[str, float]
    share: float
    allowed: int
    epoch: int = 0
    checkpoint: str | None = None
    values: dict[int, float] = field(default_factory=dict)
    scores: dict[int, Vector] = field(default_factory=dict)
    leg: RunningLeg | None = None
    failures: int = 0
    memory_failures: int = 0
    halted: str = ""
    violation: float = 0.0
    trained_s: float = 0.0
    verdict: Verdict | None = None
    message: str = ""
    cost: Cost = field(default_factory=Cost)
    parent: Parent | None = None
    inherited: float | None = None

    @property
    def status(self) -> Status:
        """The verdict, or what the trial does until it has one; ``waiting`` trials have a leg to hand out."""
        if self.verdict is not None:
            return self.verdict
        if self.leg is not None:
            return "running"
        return "waiting" if self.epoch < self.allowed else "paused"

    @property
    def value(self) -> float | None:
        """The first objective after the last reported epoch."""
        return self.values.get(self.epoch)

    @property
    def score(self) -> Vector | None:
        """All objectives after the last reported epoch, more is better."""
        return self.scores.get(self.epoch)

    @property
    def macs(self) -> float:
        """Multiply-adds of its network, 0 where the gate knows none: a cost that is the same in every run."""
        return self.profile.get("macs", 0.0)

    @property
    def is_repeat(self) -> bool:
        """Whether it trains an earlier trial's candidate with another seed; rungs do not judge it."""
        return self.source == "repeat"

    @property
    def is_heir(self) -> bool:
        """Whether it began, or shall begin, with weights of another trial: then its scores compare within this search only."""
        return self.parent is not None and self.inherited != 0.0

    def __lt__(self, other: "Trial") -> bool:
        return self.number < other.number
