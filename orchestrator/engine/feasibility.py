"""Whether a search could begin at all, found out before it does: by what its engine would do first."""

from dataclasses import replace

from orchestrator.engine.engine import Engine, Start
from orchestrator.engine.events import Event
from orchestrator.engine.proposal import exhaustion
from orchestrator.engine.settings import EngineSettings


def fault_of_start(settings: EngineSettings) -> str:
    """Why a search could not begin one trial, as every proposal is turned down; empty where it can.

    Nothing is trained or written. A search that begins takes one proposal for that; one that cannot, as many as it would
    make before it gave up.
    """
    engine = Engine(replace(settings, screening=None))
    answer = engine.ask(0.0)
    if isinstance(answer.step, Start):
        return ""
    for number, draft in enumerate(answer.drafts, 1):
        engine.apply(Event(number, draft.kind, draft.version, 0.0, draft.body))
    return exhaustion(settings, engine.state)
