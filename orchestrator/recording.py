"""Recording a table: candidates of a job's space trained to their end, one after another in this process."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

from orchestrator.engine.proposal import derived_seed
from orchestrator.plan import Plan
from orchestrator.table import RecordedEpoch, Table, TableError, Training, begun, save_table
from search_spaces.candidate import Candidate, digest, to_json
from search_spaces.space import encode, sample
from workers.checkpoint import delete_checkpoint
from workers.contract import EpochResult, Leg
from workers.leg import open_work, run_leg

DRAWS = 1000  # candidates drawn in a row without a new one within the limits: the space holds no more
FRESH_PER_REPEAT = 3  # so many new candidates, then one more seed of an earlier one

Watch = Callable[[Training, int, int], None]
"""Told each finished training, how many there are now, and how many there shall be."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A training to record."""

    name: str
    candidate: Candidate
    seed: int


def record(
    plan: Plan, out: Path, *, trials: int, seeds: int, repeated: int, watch: Watch = lambda *_: None
) -> Table:
    """Train candidates of a job's space to their end, one after another in this process, and keep their curves.

    Presets come first, then candidates drawn evenly from the space, those beyond the job's limits left out; every few of
    them one more seed of an earlier one. What the file holds already is not trained again.

    Args:
        plan: The job.
        out: The table, new or to be continued.
        trials: Different candidates, presets included.
        seeds: Trainings of each of the first ``repeated`` candidates; the others have one.
        repeated: How many candidates have several seeds.
        watch: Told each training.

    Raises:
        TableError: The file is no table, or one of another space, data set or protocol; or the job inherits.
    """
    if plan.job.search.inherit:
        raise TableError(
            "search.inherit: a table holds trainings that begin with weights of their own, so nothing is inherited; remove it."
        )
    table = begun(plan, out)
    wanted = list(work(plan, trials=trials, seeds=seeds, repeated=repeated))
    done = {(training.digest, training.seed) for training in table.trainings}
    for item in wanted:
        if (digest(item.candidate), item.seed) not in done:
            training = _train(plan, item)
            table = Table(table.origin, (*table.trainings, training))
            save_table(table, out)
            watch(training, len(table.trainings), len(wanted))
    return table


def work(plan: Plan, *, trials: int, seeds: int, repeated: int) -> Iterator[Wanted]:
    """What to record, the most useful first; the same for the same job."""
    fresh = list(_candidates(plan, trials))
    again = [
        replace(item, seed=plan.settings.seed + extra)
        for item in fresh[:repeated]
        for extra in range(1, seeds)
    ]
    for number, item in enumerate(fresh, start=1):
        yield item
        if number >= repeated // 2 and number % FRESH_PER_REPEAT == 0 and again:
            yield again.pop(0)
    yield from again


def _candidates(plan: Plan, count: int) -> Iterator[Wanted]:
    settings = plan.settings
    seen: set[str] = set()
    for name, candidate in settings.presets[:count]:
        if isinstance(settings.gate(candidate), str):
            continue
        seen.add(digest(candidate))
        yield Wanted(name, candidate, settings.seed)
    rng = random.Random(derived_seed("table", settings.seed))
    misses = 0
    while len(seen) < count and misses < DRAWS:
        candidate = sample(settings.space, rng)
        profile = settings.gate(candidate)
        limits = settings.constraints.items()
        fits = not isinstance(profile, str) and all(profile[limit] <= most for limit, most in limits)
        if fits and (key := digest(candidate)) not in seen:
            misses = 0
            seen.add(key)
            yield Wanted("", candidate, settings.seed)
        else:
            misses += 1


def _opening_s(leg: Leg) -> float:
    """CPU seconds of building what a leg needs before its first epoch."""
    started = process_time()
    open_work(leg)
    return process_time() - started


def _train(plan: Plan, wanted: Wanted) -> Training:
    """One training through the code of a search's legs, with its checkpoints in a folder of its own."""
    candidate = to_json(wanted.candidate)
    epochs: list[RecordedEpoch] = []
    last: str | None = None
    with TemporaryDirectory(prefix="segsearch-table-") as folder:
        leg = Leg(
            search="table",
            trial=0,
            fence=1,
            candidate=candidate,
            seed=wanted.seed,
            first_epoch=0,
            last_epoch=plan.settings.scheduler.max_epochs,
            max_epochs=plan.settings.scheduler.max_epochs,
            checkpoint=None,
            data=plan.view,
            storage=folder,
            threads=1,
            plugins=tuple(plan.job.plugins),
            measures=plan.measures,
            latency=plan.latency,
            precision=plan.job.resources.precision,
        )
        try:
            startup_s = min(_opening_s(leg) for _ in range(2))  # the first of a process also makes caches
        except Exception:  # run_leg meets it again and says what it is
            startup_s = 0.0
        clock = process_time() + startup_s  # the leg builds all of it once more

        def keep(result: EpochResult) -> None:
            nonlocal clock, last
            loss = result.loss if abs(result.loss) < float("inf") else None
            seconds = max(0.0, process_time() - clock)
            epochs.append(RecordedEpoch(dict(result.metrics), loss, round(seconds, 4)))
            if last is not None:
                delete_checkpoint(last)
            last = result.checkpoint
            clock = process_time()

        ended = run_leg(leg, keep, lambda: False)
        lost_s = 0.0 if ended.status == "completed" else max(0.0, process_time() - clock)
    if ended.status == "failed":
        raise TableError(f"recording {wanted.name or digest(wanted.candidate)}: {ended.message}")
    profile = plan.settings.gate(wanted.candidate)
    assert not isinstance(profile, str)
    return Training(
        candidate=candidate,
        trace=encode(plan.settings.space, wanted.candidate),
        digest=digest(wanted.candidate),
        name=wanted.name,
        seed=wanted.seed,
        parameters=profile["parameters"],
        macs=profile["macs"],
        status=ended.status,
        startup_s=round(startup_s, 4),
        epochs=tuple(epochs),
        lost_s=round(lost_s, 4),
    )
