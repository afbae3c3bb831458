"""Finished searches in a journal, and what they are worth to a new one."""

from typing import Any

from orchestrator.engine import events
from orchestrator.engine.events import Draft
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
