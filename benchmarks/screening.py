"""Whether screening proposals by a zero-cost score pays: searches on a recorded table with ``search.screening`` and without.

Every search is played in virtual time (``orchestrator/playground.py``) on the table's candidates without its presets, with two
slots, until ``--trials`` trials were begun. A row is a score and the share that it drops of the newest 8 proposals; ``none``
drops nothing, ``chance`` by a number without meaning, ``truth`` by the recorded last-epoch metric, which no score can beat.

The best metric is given after a quarter, a half and all of the worker-seconds that the median search without screening takes,
with its mean difference from the search without screening of the same seed and a 95 % interval from drawing seeds anew. A
screened search drops candidates, so its trials may be longer: *worker-s* is what all of it takes, *end* its best by then.
Seconds of scoring are not counted.

    python benchmarks/screening.py benchmarks/tables/hippocampus-2d.parquet
"""

import argparse
import functools
import statistics
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from orchestrator.engine.objective import Objective
from orchestrator.engine.sampler import Sampler
from orchestrator.engine.screening import Screening
from orchestrator.engine.settings import EngineSettings, Scheduler
from orchestrator.playground import Played, Playground
from orchestrator.simulate import interval
from orchestrator.table import Table, load_table
from search_spaces.candidate import Candidate, digest
from search_spaces.narrow import narrow
from search_spaces.register import kinds, lookup
from search_spaces.space import load_space
from search_spaces.zero_cost import ZeroCost, score_of

METRIC = "dice"
AMONG = 8
SLOTS = 2
SHARES = (0.25, 0.5, 1.0)

Measure = Callable[[Candidate], float]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--drops", default="0.25", help="Shares that are dropped.")
    parser.add_argument("--samplers", default="random,mixed,tpe")
    parser.add_argument("--scheduler", default="asha", help="none trains every trial to its end.")
    parser.add_argument("--scores", default=",".join(["chance", *kinds(ZeroCost), "truth"]))
    parser.add_argument("--channels", type=int, default=1, help="Channels that its networks see.")
    parser.add_argument("--classes", type=int, default=3, help="Classes of it, background included.")
    options = parser.parse_args()
    table = load_table(options.table)
    table = replace(table, trainings=tuple(t for t in table.trainings if not t.name))
    space = narrow(load_space(table.origin.space), table.origin.fix)
    playground = Playground(space, table)
    print(
        f"{options.table}: {len(table.by_digest)} candidates, {options.scheduler}, {options.seeds} seeds, "
        f"{options.trials} trials"
    )
    for sampler in options.samplers.split(","):
        settings = EngineSettings(
            space=space,
            objectives=(Objective(METRIC),),
            sampler=lookup(Sampler, sampler)(),  # type: ignore[type-abstract]  # entries are concrete
            scheduler=Scheduler(options.scheduler, int(table.origin.protocol["max_epochs"])),
            trials=options.trials,
        )

        def play(screening: Screening | None, settings: EngineSettings = settings) -> list[Played]:
            asked = replace(settings, screening=screening)
            return [playground.play(replace(asked, seed=s), workers=SLOTS) for s in range(options.seeds)]

        plain = play(None)
        say(sampler, "none", 0.0, plain, plain)
        for score in options.scores.split(","):
            measure = measure_of(score, table, options.channels, options.classes)
            for drop in map(float, options.drops.split(",")):
                say(sampler, score, drop, play(Screening(score, drop, AMONG, measure)), plain)


def measure_of(score: str, table: Table, channels: int, classes: int) -> Measure:
    """A zero-cost score, or one of the two that it is compared with."""
    if score == "chance":
        return lambda candidate: float(int(digest(candidate)[:8], 16))
    if score == "truth":
        known = {
            key: trainings[0].epochs[-1].metrics.get(METRIC, 0.0) if trainings[0].epochs else 0.0
            for key, trainings in table.by_digest.items()
        }
        return functools.cache(lambda candidate: known[digest(candidate)])
    size = tuple(table.origin.protocol["size"])
    return lambda candidate: score_of(
        score, candidate.architecture, in_channels=channels, num_classes=classes, input_size=size
    )


def say(sampler: str, score: str, drop: float, played: list[Played], plain: list[Played]) -> None:
    """Print one row."""
    whole = statistics.median(one.worker_s for one in plain)
    cells = []
    for share in SHARES:
        found, without = (
            np.array([one.best_after(share * whole) or 0.0 for one in p]) for p in (played, plain)
        )
        low, high = interval((found - without).tolist())
        cells.append(f"{found.mean():.3f} ({(found - without).mean():+.3f} [{low:+.3f}, {high:+.3f}])")
    end = statistics.mean(one.steps[-1].best for one in played)
    spent = statistics.mean(one.worker_s for one in played)
    print(
        f"{sampler:<8}{score:<11}{drop:<5.2f} {'  '.join(cells)}  worker-s {spent:.0f}, end {end:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
