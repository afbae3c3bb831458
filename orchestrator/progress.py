"""What a user sees while a search runs: a bar with ETA, best so far and worker hours; plain lines where it is no terminal."""

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self, get_args

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from orchestrator.engine.events import Event, Purpose
from orchestrator.engine.leaderboard import leaderboard
from orchestrator.engine.state import State
from workers.contract import JSON

if TYPE_CHECKING:
    from orchestrator.engine.engine import Engine

PLAIN_S = 10.0  # seconds between two plain lines that only say that time passes


@dataclass(slots=True)
class ProgressView:
    """Watches a search.

    Attributes:
        console: Where to draw.
    """

    console: Console
    _bar: Progress | None = None
    _task: TaskID | None = None
    _said: float = 0.0
    _started: float = field(default_factory=time.time)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:3.0f} %"),
                TimeElapsedColumn(),
                TextColumn("ETA {task.fields[eta]}  best {task.fields[best]}  {task.fields[hours]} worker-h"),
                console=self.console,
            )
            self._bar.start()
            self._task = self._bar.add_task("searching", total=1.0, eta="-", best="-", hours="0.00")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Event | None, engine: "Engine") -> None:
        """Told each event, and None now and then."""
        if event is not None and (line := describe(event, engine.state)):
            self.console.print(line, highlight=False, soft_wrap=True)
        if self._bar is not None and self._task is not None:
            done, label = share_done(engine), "searching" if engine.state.finished is None else "retraining"
            hours = f"{spent_s(engine) / 3600:.3f}"
            elapsed = time.time() - self._started
            eta = duration_text(elapsed * (1 - done) / done) if done > 0.02 else "-"
            self._bar.update(
                self._task, completed=done, description=label, eta=eta, best=best_text(engine), hours=hours
            )
        elif event is None and time.monotonic() - self._said > PLAIN_S:
            self._said = time.monotonic()
            done = share_done(engine)
            text = f"{done:4.0%} done, best {best_text(engine)}, {spent_s(engine) / 3600:.3f} worker hours"
            self.console.print(text, highlight=False)


def describe(event: Event, state: State) -> str | None:
    """One line for an event that a user cares about, or None."""
    body = event.body
    match event.kind:
        case "epoch":
            trial = body["trial"]
            learned = [objective.name for objective in state.objectives if objective.is_learned]
            shown = dict.fromkeys((*learned, "dice", "miou"))
            metrics = [f"{name} {body['metrics'][name]:.4f}" for name in shown if name in body["metrics"]]
            head = f"trial {trial:3d} {state.trials[trial].name}: epoch {body['epoch']}"
            return ", ".join([head, f"loss {body['loss']:.4f}", *metrics, f"{body['seconds']:.1f} s"])
        case "rejected" if body["reason"] != "duplicate":
            return f"rejected {body['name'] or body['digest'][:8]}: {body['message']}"
        case "trial_ended" if body["verdict"] not in ("completed", "stopped"):
            return f"trial {body['trial']:3d} {body['verdict']}: {body['message'].splitlines()[0] if body['message'] else ''}"
        case "halted" if body["violation"]:
            return f"trial {body['trial']:3d} {state.trials[body['trial']].name}: ends, as {body['reason']}"
        case "noted" if body["kind"] == "pause":
            return f"paused by {body['data']['by']} after the running epochs; 'segsearch resume' goes on."
        case "noted" if body["kind"] == "evidence":
            return "\n".join(map(evidence_line, body["data"]["sources"]))
        case "reused":
            name, whence = state.trials[body["trial"]].name, f"trial {body['source']} of {body['search']}"
            return f"trial {body['trial']:3d} {name}: {len(body['epochs'])} epochs reused from {whence}"
        case "extended":
            more = {k: body[k] for k in ("trials", "wall_s", "worker_hours") if body[k]}
            return f"extended by {body['by']}: {', '.join(f'{k} +{v:g}' for k, v in more.items())}."
        case "stop_requested":
            return f"stopped by {body['by']}."
        case "finished":
            return f"search finished: {body['message'] or body['reason']}"
    return None


def evidence_line(source: JSON) -> str:
    """What a search was given of another one."""
    use = (
        ""
        if source["relation"] == "identical"
        else ", of which only the order counts here: other data or protocol"
    )
    beyond = f", {source['beyond']} beyond its limits" if source["beyond"] else ""
    kept = f"{source['kept']} trial{'' if source['kept'] == 1 else 's'} kept"
    counts = f"{kept}{use}; {source['outside']} outside the new space{beyond}"
    return f"evidence of {source['search']}: {counts}"


def spent_s(engine: "Engine") -> float:
    """Worker-seconds so far, of all purposes."""
    return sum(engine.state.spent_s(time.time(), purpose) for purpose in get_args(Purpose))


def share_done(engine: "Engine") -> float:
    """How much of the search's budget is used, in [0, 1]: of trials, wall time or worker hours, whichever is nearest."""
    settings, state, now = engine.settings, engine.state, time.time()
    ended = sum(trial.verdict is not None for trial in state.of("search"))
    more = state.extension
    shares = [ended / (settings.trials + more.trials)]
    if settings.wall_s is not None:
        shares.append(state.wall_s(now) / (settings.wall_s + more.wall_s))
    if settings.worker_hours is not None:
        shares.append(state.spent_s(now) / ((settings.worker_hours + more.worker_hours) * 3600))
    return 1.0 if state.finished is not None else min(1.0, max(shares))


def best_text(engine: "Engine") -> str:
    """Best value of the objective so far, with its trial."""
    rows = leaderboard(engine.state)
    if not rows or rows[0].value is None:
        return "-"
    return f"{rows[0].value:.4f} (trial {rows[0].trial} {rows[0].name})"


def duration_text(seconds: float) -> str:
    """3:05 or 1:02:07."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
