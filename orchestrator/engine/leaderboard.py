"""The leaderboard: trials in the order in which a user wants to see them.

Trials are ranked by the objectives at the last epoch that they trained, which is what their checkpoint holds, never by
a loss. A trial that was paused early is not set back: its learning-rate schedule refers to the full training whatever
its rung, so what it scores it has already reached. Seeds of one candidate with as many epochs are ranked by their mean,
the better seed first. Equal scores go to the cheaper trial. With several objectives the order is that of ``pareto.ranking``:
by front, and within a front those that stand apart first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.engine.events import Event, Purpose, Source
from orchestrator.engine.objective import Objective, Vector, mean_vector
from orchestrator.engine.pareto import fronts, hypervolume, knee, ranking, spread
from orchestrator.engine.state import State
from orchestrator.engine.trial import Status, Trial


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
        value: The first objective after ``epoch``.
        best: The best value of any epoch, and ``best_epoch`` when that was.
        profile: ``parameters`` and other numbers known before training.
        worker_seconds: What it cost so far.
        message: Why it ended, where that needs saying.
        values: All objectives after ``epoch``, by name; empty where one is not known.
        scores: What it is ranked by: the objectives, more is better, the mean over seeds; None where one is not known.
        front: 1 where no candidate of the purpose is better in one objective and no worse in the others.
        parent: The trial with whose weights it began, so that its scores compare within this search only; None for its own.
        inherited: The share of its parameters that came from there, once its first epoch told.
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
    values: dict[str, float]
    scores: Vector | None
    front: int | None
    parent: int | None
    inherited: float | None


def leaderboard(state: State, *, purpose: Purpose = "search") -> tuple[Row, ...]:
    """Rows of all trials of a purpose, best first, those without a score last."""
    trials = list(state.of(purpose))
    by_seed: dict[tuple[str, int], list[Vector]] = {}
    cheapest: dict[tuple[str, int], float] = {}
    for trial in trials:
        if trial.score is not None:
            key = (trial.digest, trial.epoch)
            by_seed.setdefault(key, []).append(trial.score)
            cheapest[key] = min(trial.cost.total, cheapest.get(key, trial.cost.total))
    # The better seed first where the mean is the same; a sort keeps this order of equals.
    scored = sorted(
        (trial for trial in trials if trial.score is not None),
        key=lambda trial: tuple(-value for value in trial.score or ()),
    )
    means = [mean_vector(by_seed[trial.digest, trial.epoch]) for trial in scored]
    front = fronts(means)
    order = ranking(means, [cheapest[trial.digest, trial.epoch] for trial in scored])
    rows = [
        _row(scored[index], state.objectives, rank=rank, scores=means[index], front=front[index])
        for rank, index in enumerate(order, start=1)
    ]
    rest = sorted((trial for trial in trials if trial.score is None), key=lambda t: (t.cost.total, t.number))
    return (*rows, *(_row(trial, state.objectives) for trial in rest))


def pareto_front(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Rows that none is better than, one a candidate, best of the first objective first."""
    found = {row.digest: row for row in reversed(list(rows)) if row.front == 1}
    return tuple(sorted(found.values(), key=lambda row: (row.scores or (), -row.trial), reverse=True))


def knee_point(rows: Iterable[Row]) -> Row | None:
    """The row of the front where giving up more of one objective costs most of another."""
    front = pareto_front(rows)
    return front[knee([row.scores or () for row in front])] if front else None


def finalists(rows: Sequence[Row], top: int) -> tuple[Row, ...]:
    """The candidates to train anew, each once.

    One objective: the best. Several: points that stand for the first front (``pareto.spread``: the best of the first objective,
    then whatever lies farthest from those taken), and where that has too few, the best of the rest.
    """
    distinct = tuple({row.digest: row for row in reversed(rows) if row.scores is not None}.values())[::-1]
    if not distinct or len(distinct[0].scores or ()) == 1:
        return distinct[:top]
    front = pareto_front(distinct)
    taken = [front[index] for index in spread([row.scores or () for row in front], top)]
    return (*taken, *(row for row in distinct if row.front != 1))[:top]


def hypervolume_over_time(
    written: Iterable[Event], objectives: Sequence[Objective], reference: Vector
) -> list[tuple[float, float]]:
    """(Unix time, hypervolume) whenever an epoch of the search makes it grow; the network of each epoch counts.

    Args:
        written: Events of a search from the first.
        objectives: Its objectives.
        reference: Scores, more is better, that every point of interest exceeds.
    """
    state, best, found = State(objectives), 0.0, list[tuple[float, float]]()
    points: set[Vector] = set()
    for event in written:
        state.apply(event)
        if event.kind == "epoch" and (trial := state.trial(event)).purpose == "search" and trial.score:
            points = _undominated(points, trial.score)
            if trial.score in points and (volume := hypervolume(list(points), reference)) > best:
                best = volume
                found.append((event.at, volume))
    return found


def _undominated(points: set[Vector], new: Vector) -> set[Vector]:
    candidates = [*points, new]
    return {point for point, front in zip(candidates, fronts(candidates), strict=True) if front == 1}


def _row(
    trial: Trial,
    objectives: Sequence[Objective],
    *,
    rank: int | None = None,
    scores: Vector | None = None,
    front: int | None = None,
) -> Row:
    first = objectives[0]
    best_epoch = max(trial.values, key=lambda epoch: (first.score(trial.values[epoch]), -epoch), default=None)
    own = trial.score or ()
    return Row(
        rank=rank,
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
        values={objective.name: objective.score(v) for objective, v in zip(objectives, own, strict=False)},
        scores=scores,
        front=front,
        parent=trial.parent.trial if trial.parent and trial.is_heir else None,
        inherited=trial.inherited,
    )
