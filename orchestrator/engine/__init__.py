"""The engine: what a search decides, as pure functions of its events."""

from orchestrator.engine.engine import (
    Answer,
    Engine,
    Finished,
    LegOrder,
    Reaction,
    Requested,
    Start,
    Wait,
)
from orchestrator.engine.settings import EngineSettings, Scheduler

__all__ = [
    "Answer", "Engine", "EngineSettings", "Finished", "LegOrder", "Reaction", "Requested", "Scheduler", "Start", "Wait",
]  # fmt: skip
