"""The leaderboard: trials in the order in which a user wants to see them.

Trials are ranked by the objective at the last epoch that they trained, which is what their checkpoint holds, never by
a loss. A trial that was paused early is not set back: its learning-rate schedule refers to the full training whatever
its rung, so what it scores it has already reached. Equal scores go to the cheaper trial.
"""

from dataclasses import dataclass

from orchestrator.engine.events import Purpose, Source
from orchestrator.engine.settings import Direction
from orchestrator.engine.state import State, Status, Trial


@dataclass(frozen=True, slots=True)
class Row:
    """One trial.

    Attributes:
        rank: 1 is best; None where the trial has no score.
        trial: Number of the trial.
        name: What a user calls it.
        source: Who proposed it.
        status: Its verdict, or what it does until it has one.
        epoch: Epochs done.
        max_epochs: Length of the full training.
        value: The objective after ``epoch``.
        best: The best value of any epoch, and ``best_epoch`` when that was.
        profile: ``parameters`` and other numbers known before training.
        worker_seconds: What it cost so far.
        message: Why it ended, where that needs saying.
    """

    rank: int | None
    trial: int
    name: str
    source: Source
    purpose: Purpose
    digest: str
    seed: int
    status: Status
    epoch: int
    max_epochs: int
    value: float | None
    best: float | None
    best_epoch: int | None
    profile: dict[str, float]
    worker_seconds: float
    checkpoint: str | None
    message: str


def leaderboard(state: State, direction: Direction, *, purpose: Purpose = "search") -> tuple[Row, ...]:
    """Rows of all trials of a purpose, best first, those without a score last."""
    sign = 1.0 if direction == "maximize" else -1.0

    def order(trial: Trial) -> tuple[float, float, int]:
        value = trial.value
        score = float("inf") if value is None else -sign * value
        return score, trial.cost.total, trial.number

    ranked = sorted(state.of(purpose), key=order)
    return tuple(_row(trial, rank, sign) for rank, trial in enumerate(ranked, start=1))


def _row(trial: Trial, rank: int, sign: float) -> Row:
    best_epoch = max(trial.values, key=lambda epoch: (sign * trial.values[epoch], -epoch), default=None)
    return Row(
        rank=None if trial.value is None else rank,
        trial=trial.number,
        name=trial.name,
        source=trial.source,
        purpose=trial.purpose,
        digest=trial.digest,
        seed=trial.seed,
        status=trial.status,
        epoch=trial.epoch,
        max_epochs=trial.max_epochs,
        value=trial.value,
        best=None if best_epoch is None else trial.values[best_epoch],
        best_epoch=best_epoch,
        profile=trial.profile,
        worker_seconds=trial.cost.total,
        checkpoint=trial.checkpoint,
        message=trial.message,
    )
