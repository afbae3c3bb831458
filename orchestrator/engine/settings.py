"""What the engine is told once: the job, as far as decisions depend on it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from orchestrator.engine.objective import Objective

if TYPE_CHECKING:  # readers of a journal need no torch
    from orchestrator.engine.sampler import Sampler
    from orchestrator.engine.screening import Screening
    from search_spaces.candidate import Candidate
    from search_spaces.loss import Loss
    from search_spaces.loss_battery import Fault
    from search_spaces.space import Space

Kind = Literal["none", "halving", "asha", "asha-stopping", "hyperband", "pasha", "median", "curve"]
STOPPING: frozenset[Kind] = frozenset({"asha-stopping", "median", "curve"})
"""Kinds that end running trials; the others pause them."""
ONE_OBJECTIVE: frozenset[Kind] = frozenset({"pasha", "median", "curve"})
"""Kinds whose rule is about the values of one objective and says nothing about fronts."""
Gate: TypeAlias = "Callable[[Candidate], Mapping[str, float] | str]"
"""Numbers of a candidate known before training (``parameters``, ...), or the reason why it cannot be built."""

LossGate: TypeAlias = "Callable[[Loss], Fault | None]"
"""Why a loss cannot train a network, or None."""


def no_gate(_candidate: "Candidate") -> Mapping[str, float]:
    """Lets every candidate pass and knows no numbers."""
    return {}


def no_loss_gate(_loss: "Loss") -> None:
    """Lets every loss pass."""


@dataclass(frozen=True, slots=True)
class Scheduler:
    """When trials pause and which go on; what each kind does is said in ``pausing`` and ``stopping``.

    Attributes:
        kind: ``none`` trains every trial to its end.
        max_epochs: Full length of a training.
        min_epochs: Epochs to the first rung.
        reduction: One in this many goes on from a rung, a rung has this many times the epochs of the one below, and so
            many trials have to speak before any is judged.
    """

    kind: Kind = "asha"
    max_epochs: int = 27
    min_epochs: int = 1
    reduction: int = 3

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which trials are judged, rising; the last is ``max_epochs``."""
        epochs: list[int] = []
        epoch = self.min_epochs
        while self.kind != "none" and epoch < self.max_epochs:
            epochs.append(epoch)
            epoch *= self.reduction
        return (*epochs, self.max_epochs)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Everything that decisions depend on besides events and time.

    Attributes:
        space: What may be chosen.
        objectives: What is searched for, the learned ones first; the first decides where a rung is silent.
        sampler: Proposes candidates after the presets.
        scheduler: Stops, pauses and promotes trials.
        seed: Seed of the search; trials of the search train with it too.
        trials: Trials that the search may begin, presets included.
        slots: Legs of one slot that run side by side.
        wall_s: Seconds with a driver after which the search ends; None is no limit.
        worker_hours: Slot hours of the search after which it ends; None is no limit.
        constraints: Upper limits on the gate's numbers, by name.
        limits: Upper limits on what only epochs tell, by name: ``latency_ms``.
        presets: First candidates, by name; all lie in the space.
        gate: Measures a candidate before any worker is used.
        loss_gate: Finds losses that cannot train a network, before any worker is used.
        screening: Which proposals are turned down for their zero-cost score; None is none.
        repeats: Of how many of the best candidates a second seed is trained when no new trial can begin; they count in
            no budget of trials.
        reuse: Whether a result of another search stands for the same training here.
        inherit: Whether children of trials begin with the weights of their parents; needs a sampler that breeds.
        batch: Samples a step; a trial that runs out of memory is tried again with ever smaller parts of it.
        whole: Slots that one leg may take at once, for a trial whose smallest parts run out of memory.
        retries: How often a failed trial is handed out again without having finished an epoch in between.
    """

    space: "Space"
    objectives: tuple[Objective, ...]
    sampler: "Sampler"
    scheduler: Scheduler = field(default_factory=Scheduler)
    seed: int = 0
    trials: int = 60
    slots: int = 1
    wall_s: float | None = None
    worker_hours: float | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    presets: "tuple[tuple[str, Candidate], ...]" = ()
    gate: Gate = no_gate
    loss_gate: LossGate = no_loss_gate
    screening: "Screening | None" = None
    repeats: int = 0
    reuse: bool = False
    inherit: bool = False
    batch: int = 1
    whole: int = 1
    retries: int = 2
