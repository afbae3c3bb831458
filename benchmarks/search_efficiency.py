"""How much compute searches need on a recorded table: random search, our samplers, and Ray ASHA with OptunaSearch.

Every search is played in virtual time on the curves of a table (``segsearch table record``), on the same two slots, so that
what differs is what was decided. No network is trained.

- **random**: ``--trials`` candidates drawn from the table, each trained to its end. Its best value is the target of its seed;
  its cost is the worker-seconds until it had it. Values are those after the last epoch of a whole training, which is what a
  user is handed; then, as a second table, those at any epoch: a maximum over the noise of all epochs, of which a search that
  stops trainings sees fewer.
- **ours**: the engine with a scheduler (``asha`` promotes, ``asha-stopping`` stops) and a sampler, until the table is used up;
  ``asha + random`` is the plain one.
- **ray asha + optuna**: what a user assembles: Ray's own class ``AsyncHyperBandScheduler`` (stopping) of the installed Ray,
  grace one epoch, reduction 3; ``TPESampler(seed)`` of the installed Optuna with its defaults, as ``OptunaSearch`` makes it;
  a stopped trial is told as complete with its last value, as ``OptunaSearch.on_trial_complete`` does. Not reproduced: Tune's
  controller and its overhead, and candidates that the table lacks. The space is asked define-by-run with conditions, each
  domain under a name of its own, which a user would have to find out. Limits are kept by the table, at no cost.

A proposal that is not in the table stands for the nearest recorded candidate that was not tried, for Ray's Optuna too, which is
told the candidate that was trained. A sampler that scores candidates (``mixed``) scores those of the table instead.

*Ratio*: worker-seconds of random search over those of the other search until it has the target; 0 where it never has it. Median
over seeds with a 95 % interval from drawing seeds anew. Presets are the first candidates of *both* searches, of the *other* one
alone, or of *neither*; where the presets are left out they are not in the table either. Only pairs of equal presets are fair.

``--foresight`` gives every epoch of a training the score of its last: what early stopping could bring at the most, were young
networks ranked as trained ones. Random search is the same with it.

*Budgets*: best value of each search after ten equal shares of what asha + random spends on the whole table.

    python benchmarks/search_efficiency.py benchmarks/tables/hippocampus-2d.parquet
"""

import argparse
import heapq
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial
from ray.tune.schedulers import AsyncHyperBandScheduler

from orchestrator.engine.objective import Objective
from orchestrator.engine.sampler import Sampler
from orchestrator.engine.settings import EngineSettings, Kind, Scheduler
from orchestrator.engine.study import optuna_parameters, suggest
from orchestrator.playground import Played, Playground, Step
from orchestrator.simulate import budget, interval
from orchestrator.table import Table, Training, load_table
from search_spaces.candidate import Candidate
from search_spaces.narrow import narrow
from search_spaces.preset import preset_candidates
from search_spaces.register import lookup
from search_spaces.space import Space, encode, load_space

SLOTS = 2
POINTS = 10
METRIC = "dice"
RAY = "ray asha + optuna"

Play = Callable[[int], Played]
Value = Literal["end", "any"]
"""What a training is worth: its score after the last epoch, or its best of all epochs."""


@dataclass(frozen=True, slots=True)
class Field:
    """A table with or without its presets, ready to be played on."""

    table: Table
    space: Space
    playground: Playground
    presets: tuple[tuple[str, Candidate], ...]

    @property
    def epochs(self) -> int:
        """Length of a training."""
        return int(self.table.origin.protocol["max_epochs"])


def with_foresight(table: Table) -> Table:
    """The table with every score of a whole training replaced by its last."""

    def lifted(training: Training) -> Training:
        if training.status != "completed":
            return training
        last = training.epochs[-1].metrics
        return replace(training, epochs=tuple(replace(epoch, metrics=last) for epoch in training.epochs))

    return replace(table, trainings=tuple(map(lifted, table.trainings)))


WORTH = {"end": "scores after a whole training", "any": "scores at any epoch"}


def field_of(table: Table, *, presets: bool) -> Field:
    """Make a table ready; without presets they are not in it."""
    space = narrow(load_space(table.origin.space), table.origin.fix)
    kept = table if presets else replace(table, trainings=tuple(t for t in table.trainings if not t.name))
    return Field(kept, space, Playground(space, kept), tuple(preset_candidates(space)) if presets else ())


def ours(
    field: Field, kind: str, *, scheduler: Kind, trials: int, presets: bool, min_epochs: int = 1
) -> Play:
    """A search of the engine."""
    settings = EngineSettings(
        space=field.space,
        objectives=(Objective(METRIC),),
        sampler=lookup(Sampler, kind)(),  # type: ignore[type-abstract]  # entries are concrete
        scheduler=Scheduler(scheduler, field.epochs, min_epochs),
        trials=trials,
        presets=field.presets if presets else (),
    )
    return lambda seed: field.playground.play(replace(settings, seed=seed), workers=SLOTS)


def rays(field: Field, *, trials: int, presets: bool) -> Play:
    """A search as Ray's ASHA and OptunaSearch would make it."""
    return lambda seed: _RaySearch(field, seed, presets).run(min(trials, len(field.playground.candidates)))


@dataclass(slots=True)
class _Running:
    """A trial as Ray's scheduler sees it (its ``trial_id``), what Optuna suggested, and what is trained in its place."""

    trial_id: str
    asked: optuna.Trial
    place: int
    training: Training
    begun: float

    def ends(self, epoch: int, now: float) -> float:
        """When an epoch (1-based) ends that begins now, or the one that broke."""
        epochs = self.training.epochs
        seconds = epochs[epoch - 1].seconds if epoch <= len(epochs) else self.training.lost_s
        return now + seconds + (self.training.startup_s if epoch == 1 else 0.0)


class _RaySearch:
    def __init__(self, field: Field, seed: int, presets: bool) -> None:
        self.field, self.seed = field, seed
        np.random.seed(seed)  # noqa: NPY002 - Ray's scheduler draws its bracket there
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        self.scheduler = AsyncHyperBandScheduler(
            metric=METRIC, mode="max", max_t=field.epochs, grace_period=1, reduction_factor=3
        )
        candidates = field.playground.candidates
        self.first = [candidates.index(preset) for _, preset in field.presets] if presets else []
        self.tried: set[int] = set()
        self.moved = 0

    def run(self, trials: int) -> Played:
        """Play with two slots until so many trials were begun and have ended."""
        due: list[tuple[float, int, int]] = []  # (time, trial, epoch that ends then)
        running: dict[int, _Running] = {}
        now = ended_s = 0.0
        steps, ends = list[Step](), list[Step]()
        epochs = 0
        while True:
            while len(running) < SLOTS and len(self.tried) < trials:
                number = len(self.tried)
                one = running[number] = self._begin(str(number), now)
                self.scheduler.on_trial_add(None, one)
                heapq.heappush(due, (one.ends(1, now), number, 1))
            if not due:
                return Played(
                    self.seed,
                    tuple(steps),
                    now,
                    ended_s,
                    trials,
                    epochs,
                    self.moved,
                    0,
                    "trials",
                    ends=tuple(ends),
                )
            now, number, epoch = heapq.heappop(due)
            one = running[number]
            broke = epoch > len(one.training.epochs)
            if not broke:
                epochs += 1
                value = one.training.epochs[epoch - 1].metrics.get(METRIC, 0.0)
                for kept in (steps, ends) if epoch == self.field.epochs else (steps,):
                    if not kept or value > kept[-1].best:
                        spent = ended_s + sum(now - other.begun for other in running.values())
                        kept.append(Step(now, spent, value))
            if broke or self._ends(one, epoch, value):
                ended_s += now - one.begun
                del running[number]
                if broke:
                    self.study.tell(one.asked, state=TrialState.FAIL)
            else:
                heapq.heappush(due, (one.ends(epoch + 1, now), number, epoch + 1))

    def _begin(self, name: str, now: float) -> _Running:
        asked = self.study.ask()
        place = self.first.pop(0) if self.first else self._nearest(suggest(self.field.space, asked))
        self.tried.add(place)
        playground = self.field.playground
        trainings = playground.table.by_digest[playground.digests[place]]
        return _Running(name, asked, place, trainings[self.seed % len(trainings)], now)

    def _nearest(self, candidate: Candidate) -> int:
        playground = self.field.playground
        left = [index for index in range(len(playground.candidates)) if index not in self.tried]
        index, moved = playground.nearest(encode(self.field.space, candidate), left)
        self.moved += moved
        return index

    def _ends(self, one: _Running, epoch: int, value: float) -> bool:
        """What Ray decides about an epoch; an ended trial is told to Optuna as complete with its last value."""
        result = {"training_iteration": epoch, METRIC: value}
        if self.scheduler.on_trial_result(None, one, result) != "STOP":
            return False
        self.scheduler.on_trial_complete(None, one, result)
        trace = encode(self.field.space, self.field.playground.candidates[one.place])
        params, distributions = optuna_parameters(self.field.space, trace)
        self.study.tell(one.asked, state=TrialState.FAIL)  # the candidate that was trained is told instead
        self.study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                value=value,
                params=dict(params),
                distributions=dict(distributions),
            )
        )
        return True


def ratios(random_search: Sequence[Played], other: Sequence[Played], of: Value, within: float) -> list[float]:
    """Cost of random search until a value close to its best, over the other's until the same value, seed by seed."""
    found = []
    for one, two in zip(random_search, other, strict=True):
        theirs, mine = (played.ends if of == "end" else played.steps for played in (one, two))
        target = theirs[-1].best - within
        own, cost = (_cost(steps, target) for steps in (theirs, mine))
        assert own is not None
        found.append(0.0 if cost is None else own / cost)
    return found


def _cost(steps: Sequence[Step], target: float) -> float | None:
    return next((step.worker_s for step in steps if step.best >= target), None)


def say_ratio(name: str, which: str, values: Sequence[float]) -> dict[str, Any]:
    """Print and return one line of the table."""
    low, high = interval(values, np.median)
    never = sum(value == 0 for value in values)
    middle = statistics.median(values)
    print(f"  {name:<27} presets in {which:<8} {middle:6.2f} x  [{low:.2f}, {high:.2f}]  never: {never}")
    return {"search": name, "presets": which, "median": middle, "low": low, "high": high, "never": never}


def main() -> None:
    """Print the figures; ``--json`` also writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--trials", type=int, default=60, help="Candidates that random search trains.")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--samplers", default="mixed,tpe,evolution,random", help="Ours.")
    parser.add_argument("--schedulers", default="asha,asha-stopping", help="Of each of the samplers.")
    parser.add_argument("--min-epochs", type=int, default=1, help="Of our schedulers: when they judge first.")
    parser.add_argument(
        "--within", type=float, nargs="*", default=[0.0, 0.005], help="Of random search's best."
    )
    parser.add_argument("--foresight", action="store_true", help="Every score is that after the last epoch.")
    parser.add_argument("--no-ray", action="store_true", help="Leave Ray's search out.")
    parser.add_argument("--json", help="File for the figures.")
    options = parser.parse_args()
    table, seeds = load_table(options.table), range(options.seeds)
    if options.foresight:
        table = with_foresight(table)
    whole, bare = field_of(table, presets=True), field_of(table, presets=False)
    everything = len(whole.playground.candidates)
    head = (
        f"{options.table}: {everything} candidates, {len(table.trainings)} trainings; {options.seeds} seeds, "
        f"{SLOTS} slots; random search trains {min(options.trials, len(bare.playground.candidates))}"
        f"{'; with foresight' if options.foresight else ''}; judged from epoch {options.min_epochs} on"
    )
    print(head)
    names = [name for name in options.samplers.split(",") if name]
    played: dict[tuple[str, bool], list[Played]] = {}
    baseline: dict[bool, list[Played]] = {}
    for presets, field in ((True, whole), (False, bare)):
        baseline[presets] = _all(
            ours(field, "random", scheduler="none", trials=options.trials, presets=presets), seeds
        )
        for name in names:
            for kind in options.schedulers.split(","):
                search = ours(
                    field,
                    name,
                    scheduler=kind,
                    trials=everything,
                    presets=presets,
                    min_epochs=options.min_epochs,
                )
                played[f"{kind} + {name}", presets] = _all(search, seeds)
        if not options.no_ray:
            played[RAY, presets] = _all(rays(field, trials=everything, presets=presets), seeds)
    alone = _all(ours(whole, "random", scheduler="none", trials=options.trials, presets=False), seeds)

    lines = []
    for of, within in product(get_args(Value), options.within):
        near = f"within {within:g} of its best" if within else "its best"
        print(
            f"worker-seconds of random search until {near}, over those of the other until the same; {WORTH[of]}:"
        )
        for name in dict.fromkeys(name for name, _ in played):
            for which, first, second in (
                ("both", baseline[True], True),
                ("other", alone, True),
                ("neither", baseline[False], False),
            ):
                values = ratios(first, played[name, second], of, within)
                lines.append({"value": of, "within": within} | say_ratio(name, which, values))

    budgets = []
    for presets, title in ((True, "presets first"), (False, "no presets")):
        plain = played.get(("asha + random", presets), baseline[presets])
        most = statistics.median(one.worker_s for one in plain)
        print(f"median best {METRIC} after each tenth of {most:,.0f} worker-seconds, {title}; 95 % interval:")
        for name in dict.fromkeys(name for name, _ in played):
            row = _at_budgets(played[name, presets], most)
            budgets.append({"search": name, "presets": presets, "budgets": row})
            values = "  ".join(f"{at['median']:.4f} [{at['low']:.3f}, {at['high']:.3f}]" for at in row)
            print(f"  {name:<27} {values}")
    if options.json:
        text = json.dumps({"head": head, "ratios": lines, "budgets": budgets}, indent=1)
        Path(options.json).write_text(text, encoding="utf-8")


def _all(play: Play, seeds: Sequence[int]) -> list[Played]:
    return [play(seed) for seed in seeds]


def _at_budgets(searches: Sequence[Played], most: float) -> list[dict[str, float]]:
    rows = []
    for part in range(1, POINTS + 1):
        worker_s = most * part / POINTS
        if (found := budget(searches, worker_s)) is not None:
            low, high = interval([one.best_after(worker_s) or 0.0 for one in searches], np.median)
            rows.append({"worker_s": worker_s, "median": found.median, "low": low, "high": high})
    return rows


if __name__ == "__main__":
    main()
