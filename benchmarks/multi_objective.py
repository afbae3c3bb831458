"""Two objectives on a recorded table: the hypervolume of Dice and parameters at equal compute, beside NSGA-II without stopping.

Every search is played in virtual time on the curves of a table (``segsearch table record``), on the same two slots. The
baseline is Optuna's NSGA-II as our engine asks it, each trial trained to its end. *Hypervolume*: what all epochs of all trials
dominate together, from Dice 0 and the largest network of the table; parameters in decades (log10), as twice the parameters
is a step of the same size everywhere. *Ratio*: of the hypervolumes of one seed at equal worker-seconds; the median over seeds
with a 95 % interval from drawing seeds anew. Budgets are tenths of what the baseline spends on ``--trials`` trials. Wanted: at
least 1.10.

    python benchmarks/multi_objective.py benchmarks/tables/hippocampus-2d.parquet
"""

import argparse
import math
import statistics

import numpy as np
from search_efficiency import METRIC, SLOTS, Field, field_of

from orchestrator.engine.objective import Objective
from orchestrator.engine.pareto import hypervolume
from orchestrator.engine.sampler import Sampler
from orchestrator.engine.settings import EngineSettings, Kind, Scheduler
from orchestrator.playground import Played
from orchestrator.simulate import interval
from orchestrator.table import load_table
from search_spaces.register import lookup

OBJECTIVES = (Objective(METRIC), Objective("parameters", "minimize"))
BASELINE: tuple[Kind, str] = ("none", "nsga2")
SEARCHES: tuple[tuple[Kind, str], ...] = (
    ("asha", "tpe"),
    ("asha", "nsga2"),
    ("asha", "pareto_evolution"),
    ("asha", "random"),
    ("none", "random"),
)
BUDGETS = (0.1, 0.2, 0.4, 0.7, 1.0)


def play(field: Field, kind: Kind, sampler: str, *, trials: int, seed: int, presets: bool) -> Played:
    """One search."""
    settings = EngineSettings(
        space=field.space,
        objectives=OBJECTIVES,
        sampler=lookup(Sampler, sampler)(),  # type: ignore[type-abstract]  # entries are concrete
        scheduler=Scheduler(kind, field.epochs),
        trials=trials,
        presets=field.presets if presets else (),
        seed=seed,
    )
    return field.playground.play(settings, workers=SLOTS)


def volume(played: Played, worker_s: float, largest: float) -> float:
    """Hypervolume of what a search found for so many worker-seconds."""
    points = {
        (dice, math.log10(largest) - math.log10(-parameters))
        for spent, (dice, parameters) in played.points
        if spent <= worker_s
    }
    return hypervolume([point for point in points if min(point) > 0], (0.0, 0.0))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table")
    parser.add_argument(
        "--trials", type=int, default=60, help="Trials of the baseline; the others have the table."
    )
    parser.add_argument("--seeds", type=int, default=30)
    options = parser.parse_args()
    table, seeds = load_table(options.table), range(options.seeds)
    for presets in (True, False):
        field = field_of(table, presets=presets)
        everything = len(field.playground.candidates)
        largest = 1.01 * max(numbers["parameters"] for numbers in field.playground.profiles.values())
        baseline = [
            play(field, *BASELINE, trials=min(options.trials, everything), seed=seed, presets=presets)
            for seed in seeds
        ]
        most = statistics.median(one.worker_s for one in baseline)
        base = {part: [volume(one, part * most, largest) for one in baseline] for part in BUDGETS}
        print(
            f"{options.table}: {everything} candidates, {options.seeds} seeds, {SLOTS} slots, "
            f"{'presets first in both' if presets else 'no presets'}; median hypervolume of {' + '.join(BASELINE)} after "
            + ", ".join(f"{part * most:,.0f} s: {statistics.median(base[part]):.3f}" for part in BUDGETS)
        )
        for kind, sampler in SEARCHES:
            others = [
                play(field, kind, sampler, trials=everything, seed=seed, presets=presets) for seed in seeds
            ]
            parts = []
            for part in BUDGETS:
                found = [volume(one, part * most, largest) for one in others]
                ratios = [two / one if one else math.inf for one, two in zip(base[part], found, strict=True)]
                low, high = interval(ratios, np.median)
                parts.append(f"{statistics.median(ratios):.3f} [{low:.3f}, {high:.3f}]")
            print(f"  {kind + ' + ' + sampler:<24} " + "  ".join(parts), flush=True)


if __name__ == "__main__":
    main()
