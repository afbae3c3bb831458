"""Limits on what only epochs tell, such as the latency: a trial beyond one ends after the epoch that told of it."""

from collections.abc import Mapping

from orchestrator.engine import events
from orchestrator.engine.events import Draft


def beyond(trial: int, epoch: int, metrics: Mapping[str, float], limits: Mapping[str, float]) -> Draft | None:
    """The end of a trial whose epoch shows it to be beyond a limit; None where it is within all."""
    for limit, allowed in limits.items():
        if (value := metrics.get(limit, 0.0)) > allowed:
            reason = f"{limit} {value:,.4g} is above the job's limit of {allowed:,.12g}"
            return events.halted(trial, epoch=epoch, reason=reason, violation=value / allowed - 1)
    return None
