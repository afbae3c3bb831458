"""What a job tells the engine, as far as that needs neither its data set nor a machine."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from orchestrator.engine.decisions import SettingsAt
from orchestrator.engine.events import Event
from orchestrator.engine.objective import objectives_of
from orchestrator.engine.sampler import Sampler
from orchestrator.engine.screening import Screening
from orchestrator.engine.settings import EngineSettings, Gate, LossGate, Scheduler
from orchestrator.job import Job, job_from_json
from orchestrator.plugins import check_unchanged
from search_spaces.narrow import narrow
from search_spaces.preset import preset_candidates
from search_spaces.register import kinds, lookup
from search_spaces.space import Space, load_space
from workers.contract import JSON
from workers.latency import LATENCY

AUTO = "tpe"  # what ``auto`` stands for after the presets
AUTO_SEVERAL = "pareto_evolution"  # with several objectives, see docs/benchmarks.md
LEARNED_LIMITS = (LATENCY,)  # known once an epoch was trained


def sampler_names() -> tuple[str, ...]:
    """What ``search.sampler`` may be."""
    return ("auto", *kinds(Sampler))


def sampler_of(job: Job) -> Sampler:
    """The sampler of a job, whose name is known."""
    name = job.search.sampler
    if name == "auto":
        name = AUTO if sum(map(len, job.objectives.values())) == 1 else AUTO_SEVERAL
    return lookup(Sampler, name)()  # type: ignore[type-abstract]  # entries are concrete


def engine_settings(
    job: Job,
    space: Space,
    *,
    slots: int,
    whole: int,
    gate: Gate,
    loss_gate: LossGate,
    screening: Screening | None,
) -> EngineSettings:
    """All that decisions depend on besides events and time.

    Args:
        job: What the user asked for.
        space: The job's space, narrowed by its ``fix``.
        slots: Legs of one slot that run side by side.
        whole: Slots that one leg may take at once.
        gate: Measures a candidate before any worker is used.
        loss_gate: Finds losses that cannot train a network.
        screening: Which proposals are turned down for their zero-cost score.
    """
    scheduler = job.search.scheduler
    limits = {str(name): float(limit) for name, limit in job.constraints.items()}
    return EngineSettings(
        space=space,
        objectives=objectives_of(job.objectives),
        sampler=sampler_of(job),
        scheduler=Scheduler(scheduler.kind, scheduler.max_epochs, scheduler.min_epochs, scheduler.reduction),
        seed=job.search.seed,
        trials=job.budget.trials,
        slots=slots,
        wall_s=job.budget.wall_s,
        worker_hours=job.budget.worker_hours,
        constraints={name: limit for name, limit in limits.items() if name not in LEARNED_LIMITS},
        limits={name: limit for name, limit in limits.items() if name in LEARNED_LIMITS},
        presets=tuple(preset_candidates(space)) if job.search.presets else (),
        repeats=job.search.repeats,
        reuse=job.search.reuse,
        inherit=job.search.inherit,
        batch=job.data.batch,
        whole=whole,
        gate=gate,
        loss_gate=loss_gate,
        screening=screening,
    )


def settings_of(name: str, written: Sequence[Event]) -> SettingsAt:
    """What the drivers of a search told their engines, from its journal and the modules that its job names.

    Raises:
        JournalError: A plug-in is not there, or not the one that the search began with.
        SpaceError: The space is not there, or has no longer what the job fixes.
    """
    opened = written[0].body
    job = job_from_json(opened["job"])
    check_unchanged(name, job, opened["protocol"])
    asked = job.search.screening
    screening = None if asked is None else Screening(asked.score, asked.drop, asked.among, _unmeasured)
    known: dict[str, EngineSettings] = {}

    def at(leading: JSON) -> EngineSettings:
        fix = job.fix if leading["fix"] is None else leading["fix"]
        key = json.dumps(fix, sort_keys=True)
        if key not in known:
            known[key] = engine_settings(
                job,
                narrow(load_space(job.space), fix),
                slots=1,
                whole=1,
                gate=_unmeasured,
                loss_gate=_unmeasured,
                screening=screening,
            )
        return replace(known[key], slots=leading["slots"], whole=leading["whole"])

    return at


def _unmeasured(_what: object) -> Any:
    raise AssertionError("what gates measured is in the journal")
