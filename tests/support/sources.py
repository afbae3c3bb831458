"""Finished searches in a journal, and what they are worth to a new one."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from orchestrator.engine import events
from orchestrator.engine.engine import Engine
from orchestrator.engine.events import Draft
from orchestrator.engine.sampler import Observation
from orchestrator.engine.settings import EngineSettings
from orchestrator.journal import Journal
from orchestrator.warm_start import Target, gather

JOB = {"objectives": {"maximize": ["dice"]}}
PROTOCOL = {"version": 1, "max_epochs": 9}


def opened(data: str = "d", protocol: dict[str, Any] = PROTOCOL, job: dict[str, Any] = JOB) -> Draft:
    """The first event of a search."""
    return events.opened(job, data, protocol=protocol, versions={}, seed=0)


def gathered(url: str, found: dict[str, Any], settings: EngineSettings, **origin: Any) -> list[Draft]:
    """The first events of a search that takes these as its sources; they are in the journal afterwards."""
    journal = Journal(url)
    for name, source in found.items():
        if name not in journal.names():
            journal.create(name, [Draft(e.kind, e.body, e.version) for e in source.log.events])
    start = opened(**origin)
    body = start.body
    target = Target(
        settings.space, settings.constraints, body["data_digest"], body["protocol"], settings.reuse
    )
    drafts = [start, *gather(journal, found, target)]
    journal.close()
    return drafts


def driver(toys: SimpleNamespace, settings: EngineSettings, first: Sequence[Draft], **more: Any) -> Any:
    """A toy search that begins with these events."""
    made = toys.Driver(settings, **more)
    made.log.events.clear()
    made.log.append(first, made.now)
    return made


def finished(toys: SimpleNamespace, *, job: dict[str, Any] = JOB, **changes: Any) -> Any:
    """A toy search that ran to its end."""
    made = driver(toys, toys.settings(**changes), [opened(job=job)])
    assert made.run() == "trials"
    return made


def shown(engine: Engine) -> list[Observation]:
    """What a sampler would be given now."""
    return list(engine._memory.history(engine.state).observations)
